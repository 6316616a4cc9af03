"""A training that looks at its child processes, its threads and what it has loaded."""

import sys
import threading

import lightning.pytorch as pl
import psutil
import torch  # noqa: F401
from lightning.pytorch.demos.boring_classes import BoringModel
from tests.support.quiet import quiet_trainer
from tests.support.waiting import wait_until

import tracelet_otel

BATCHES = 20

before = set(threading.enumerate())
looks = []


def children():
    return [one.as_dict(["pid", "ppid", "name", "cmdline", "status"]) for one in psutil.Process().children(True)]


def our_threads():
    return [one.name for one in set(threading.enumerate()) - before if one.name.startswith("tracelet")]


class Look(pl.Callback):
    def on_train_batch_end(self, *_):
        looks.append(children())


tracelet_otel.start_logging("process")
quiet_trainer(pl, max_epochs=1, limit_train_batches=BATCHES, callbacks=[Look()]).fit(BoringModel())
tracelet_otel.stop_logging()
assert len(looks) == BATCHES
for look in looks:
    assert [one["cmdline"][1:3] for one in look] == [["-m", "tracelet_otel.relay"]], look
assert len({look[0]["pid"] for look in looks}) == 1, looks
# The end of an interpreter that has imported MLflow takes seconds, and is waited for in the background.
wait_until(lambda: not children(), 60, "the relay's end")
wait_until(lambda: not our_threads(), 60, f"the end of {our_threads()}")
loaded = {name.partition(".")[0] for name in sys.modules} & {"mlflow", "wandb", "clearml", "uvicorn", "sqlalchemy"}
assert not loaded, loaded
