"""A rank of two of a training that goes on until there is a file `enough`; its loss is NaN once, on each rank."""

import math
import sys
import time
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import Logger
from tests.gpu.stand_in import preload
from tests.support.quiet import quiet_trainer

import tracelet_otel as tracelet

NAN_AT = 5


class Unread(Logger):
    """LearningRateMonitor wants one."""

    name = version = "unread"

    def log_metrics(self, metrics, step=None):
        pass

    def log_hyperparams(self, params, *args, **kwargs):
        pass


class Module(pl.LightningModule):
    def __init__(self, width=4):
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(width, 1)

    def training_step(self, batch, batch_idx):
        loss = self.layer(batch[0]).square().mean()
        self.log("train/loss", loss if self.global_step != NAN_AT else math.nan)
        self.log("samples", 4.0 + self.global_rank, reduce_fx="sum")
        time.sleep(0.05)
        # Ranks that stop at different steps would wait for each other for ever.
        self.trainer.should_stop = self.trainer.strategy.broadcast(Path("enough").exists())
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", self.layer(batch[0]).square().mean())

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), 0.01)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]


preload()
pl.seed_everything(7)
data = torch.utils.data.TensorDataset(torch.randn(80, 4))
with tracelet.start_logging(
    "two ranks", "digits", "otlp", config={"metrics_interval": 1.0, "tags": {"team": "vision"}}
) as run:
    trainer = quiet_trainer(
        pl, max_epochs=1000, devices=2, strategy="ddp", logger=Unread(), callbacks=[pl.callbacks.LearningRateMonitor()]
    )
    loaders = [torch.utils.data.DataLoader(data, batch_size=4) for _ in range(2)]
    trainer.fit(Module(), *loaders)
sys.exit(str(run.errors) if run.errors else 0)
