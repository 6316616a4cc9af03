"""The reader's own training, where a page says `python train.py` and does not show one."""

import os

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

import tracelet_otel as tracelet


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch):
        loss = torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1])
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


# A script that OpenTelemetry's command records has no line of ours.
if "OTEL_METRICS_EXPORTER" not in os.environ:
    tracelet.start_logging()
inputs = torch.randn(16, 4)
data = TensorDataset(inputs, inputs.sum(1, keepdim=True))
pl.Trainer(max_epochs=2, log_every_n_steps=1, logger=False, enable_progress_bar=False).fit(Net(), DataLoader(data, 4))
tracelet.stop_logging()
