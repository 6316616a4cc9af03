"""A training of two ranks that print: `prints.py STRATEGY`."""

import os
import sys

import lightning.pytorch as pl
from tests.support.quiet import quiet_trainer
from tests.support.trainings import loader, regression

import tracelet_otel as tracelet


class Prints(pl.Callback):
    def on_train_start(self, trainer, pl_module):
        os.write(1, f"begun in rank {trainer.global_rank}\n".encode())

    def on_train_end(self, trainer, pl_module):
        os.write(2, f"ended in rank {trainer.global_rank}\n".encode())


def main():
    tracelet.start_logging("console", config={"export_interval": 0.1})
    trainer = quiet_trainer(
        pl, max_epochs=1, accelerator="cpu", devices=2, strategy=sys.argv[1], callbacks=[Prints()], logger=False
    )
    trainer.fit(regression(pl), loader(8))
    os.write(1, f"after the fit {trainer.global_rank}\n".encode())


if __name__ == "__main__":
    main()
