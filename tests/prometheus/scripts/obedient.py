"""A training of one process that does what the file `order` says: train, nan, hang, fail, end."""

import math
import time
from pathlib import Path

import lightning.pytorch as pl
import torch
from tests.gpu.stand_in import preload
from tests.support.quiet import quiet_trainer
from tests.support.waiting import wait_until

import tracelet_otel as tracelet


def order():
    return Path("order").read_text()


class Module(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch, batch_idx):
        loss = self.layer(batch[0]).square().mean()
        wait_until(lambda: order() != "hang", 240, "another order")
        if order() == "fail":
            raise RuntimeError("as it was told")
        self.log("train_loss", loss if order() != "nan" else math.nan)
        self.trainer.should_stop = order() == "end"
        time.sleep(0.05)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)


preload()
data = torch.utils.data.TensorDataset(torch.randn(80, 4))
config = {"metrics_interval": 0.5, "export_interval": 0.5}
with tracelet.start_logging("obedient", "digits", "otlp", config=config):
    trainer = quiet_trainer(pl, max_epochs=-1)
    trainer.fit(Module(), torch.utils.data.DataLoader(data, batch_size=4))
