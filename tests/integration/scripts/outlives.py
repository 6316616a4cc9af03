"""A worker that is in the middle of its training when something happens to its PARENT or to itself.

It waits for the file `go` then, and trains a second time at its end.
"""

import json
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import lightning.pytorch as pl
from tests.support.quiet import quiet_trainer
from tests.support.trainings import loader, regression

import tracelet_otel as tracelet

HALF = 6


def wait_for(path):
    while not Path(path).exists():
        time.sleep(0.02)


class Waits(pl.Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        pl_module.log("batches", float(trainer.global_step))
        if trainer.global_step == HALF:
            Path("half").touch()
            wait_for("go")


def work():
    for callbacks in ([Waits()], []):
        quiet_trainer(pl, max_epochs=3, callbacks=callbacks).fit(regression(pl), loader())
    Path("done").touch()


run = tracelet.start_logging("parent", config={"export_interval": 0.1, "track_system": False})
worker = multiprocessing.get_context("fork").Process(target=work)
worker.start()
wait_for("half")
if sys.argv[1] == "worker is killed":
    os.kill(worker.pid, signal.SIGKILL)
elif sys.argv[1] == "parent is killed":
    os.kill(os.getpid(), signal.SIGKILL)
else:
    run.stop()
    Path("go").touch()
worker.join()
print(json.dumps(run.errors))
