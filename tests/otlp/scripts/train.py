"""A rank of a training; it is told of an endpoint by the environment, and prints its number and our errors."""

import json
import os

import lightning.pytorch as pl
import torch
from tests.support.quiet import quiet_trainer

import tracelet_otel as tracelet


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.save_hyperparameters({"lr": 0.05})
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch, batch_idx):
        loss = self.layer(batch[0]).square().mean()
        self.log("loss", loss)
        self.log("most", 10.0 * self.global_rank + batch_idx, reduce_fx="max")
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val", self.layer(batch[0]).abs().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.05)


def loader():
    return torch.utils.data.DataLoader(data, batch_size=4)


pl.seed_everything(3)
data = torch.utils.data.TensorDataset(torch.randn(80, 4))
with tracelet.start_logging("chain", config={"export_interval": 0.2}) as run:
    trainer = quiet_trainer(pl, max_epochs=2, devices=2, strategy="ddp")
    trainer.fit(Net(), loader(), loader())
print(json.dumps([int(os.environ["RANK"]), run.errors]))
