"""A training of one rank or several: `train.py DEVICES`; prints the state of Python's random generator at its end."""

import hashlib
import os
import random
import sys

import lightning.pytorch as pl
import torch
from tests.support.quiet import quiet_trainer
from tests.support.trainings import loader

import tracelet_otel as tracelet


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch, batch_idx):
        return torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        self.log("val", self.layer(batch[0]).abs().mean(), sync_dist=True)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.05)


devices = int(sys.argv[1])
pl.seed_everything(3, verbose=False)
strategy = os.environ.get("STRATEGY", "ddp" if devices > 1 else "auto")


def main():
    with tracelet.start_logging("a run", config={"export_interval": 0.1}) as run:
        trainer = quiet_trainer(pl, max_epochs=2, devices=devices, strategy=strategy, num_sanity_val_steps=0)
        trainer.fit(Net(), loader(16), loader(8))
    print(run.errors, hashlib.sha256(repr(random.getstate()).encode()).hexdigest())


if __name__ == "__main__":
    main()
