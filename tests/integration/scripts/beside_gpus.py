"""A training beside two GPUs whose readings change: `beside_gpus.py SCRIPT`, the file that the stand-in for NVML obeys.

It says the run's id and errors, and the rows that a logger of its own got.
"""

import ctypes
import json
import sys
from pathlib import Path

import lightning.pytorch as pl
import torch
from tests.gpu.stand_in import StandIn, machine, preload
from tests.support.quiet import quiet_trainer
from tests.support.recording import recording_logger
from tests.support.waiting import wait_until

import tracelet_otel as tracelet

preload()
nvml = StandIn(Path(), Path(sys.argv[1]))
count = ctypes.CDLL("libnvidia-ml.so.1").standInCalls


class Changing(pl.Callback):
    # A pass that begins after a change has the new values, and is exported before the one after the next begins.
    def on_train_batch_end(self, trainer, *_):
        step = trainer.global_step
        if step in (2, 4):
            nvml.plays(machine(2, **{"0.utilization": 10 * step}))
            seen = count(b"nvmlDeviceGetUtilizationRates")
            wait_until(lambda: count(b"nvmlDeviceGetUtilizationRates") >= seen + 6, 30, "three passes")


class Module(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch):
        loss = self.layer(batch[0]).square().mean()
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


logger = recording_logger(pl)
data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(8, 2)), batch_size=1)
config = {"track_system": True, "metrics_interval": 0.1, "export_interval": 0.1}
with tracelet.start_logging("all", "all of them", ["mlflow", "wandb", "clearml"], config=config) as run:
    trainer = quiet_trainer(pl, max_epochs=1, logger=logger, callbacks=[Changing()])
    trainer.fit(Module(), data)
print(json.dumps({"id": run.id, "errors": run.errors, "rows": logger.rows}))
