"""A training that ends as it is told: `training_that_ends.py HOW`, where STOP=yes stops the run explicitly."""

import contextlib
import os
import sys
import time
from pathlib import Path

import lightning.pytorch as pl
from tests.support.quiet import quiet_trainer
from tests.support.trainings import loader, regression

import tracelet_otel as tracelet

how = sys.argv[1]


def on_train_batch_end(self, *_):
    with open("rows", "a") as rows:  # noqa: PTH123
        print(self.trainer.fit_loop.epoch_loop._batches_that_stepped, file=rows)
    if self.trainer.global_step == 5:
        if how in ("exception", "caught", "caught, then good"):
            raise ValueError("a bug")
        if how == "should_stop":
            self.trainer.should_stop = True
        if how in ("SIGINT", "SIGTERM"):
            Path("ready").touch()
            # The signal ends it; Lightning looks for SIGTERM between batches.
            while not self.trainer.received_sigterm:
                time.sleep(0.01)


def fit(how="good"):
    module = regression(pl, on_train_batch_end=on_train_batch_end) if how != "good" else regression(pl)
    trainer = quiet_trainer(pl, max_epochs=2)
    trainer.fit(module, "no loader" if how == "bad argument" else loader(), loader(16, seed=1))


run = tracelet.start_logging()
if how.startswith("caught"):
    with contextlib.suppress(ValueError):
        fit(how)
    if how == "caught, then good":
        fit()
else:
    fit(how)
if os.environ.get("STOP"):
    tracelet.stop_logging()
