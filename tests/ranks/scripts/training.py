"""A training of two ranks that log different values: `training.py STRATEGY STEPS [PAUSE_S]`.

A logger of its own writes down, for each rank, what Lightning hands to loggers there.
"""

from __future__ import annotations

import json
import os
import sys
import time

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import Logger
from tests.support.quiet import quiet_trainer

import tracelet_otel as tracelet

KNOWN = ({*os.environ} - {"TRACELET_HANDOVER"}) | {"TRACELET_RECORDER"}
CONFIG = json.loads(os.environ.get("CONFIG", "{}"))


class Witness(Logger):
    """Lightning calls loggers on each rank; those that it brings are silent on all but the first."""

    name = version = "witness"

    def log_metrics(self, metrics, step=None):
        with open(f"rows.{Witness.rank}", "a") as file:  # noqa: PTH123
            file.writelines(
                json.dumps([name, step, float(value), time.time()]) + "\n" for name, value in metrics.items()
            )

    def log_hyperparams(self, params, *args, **kwargs):
        pass

    rank = None


class Module(pl.LightningModule):
    def __init__(self, pause_s):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)
        self.pause_s = pause_s

    def setup(self, stage):
        Witness.rank = self.global_rank
        run = tracelet.get_active_run()
        with open(f"process.{self.global_rank}", "w") as file:  # noqa: PTH123
            place = run._role.membership.attributes
            json.dump({"pid": os.getpid(), "place": place, "owns": run._role.owns_run}, file)

    def on_train_start(self):
        if os.environ.get("OWN_LOGGER"):
            ours = self.loggers[1]
            ours.log_metrics({"handed": 1.0 + self.global_rank}, 3)
            ours.experiment.log_metric("by hand", 1.0 + self.global_rank, 3)

    def training_step(self, batch, batch_idx):
        rank = self.global_rank
        value = 10.0 * rank + batch_idx
        both = {"on_step": True, "on_epoch": True}
        self.log("mean", value, **both)
        self.log("mean/sync", value, sync_dist=True, **both)
        self.log("sum", value, reduce_fx="sum", **both)
        self.log("sum/sync", value, reduce_fx="sum", sync_dist=True, **both)
        # The same number on each rank, as counts of samples are.
        self.log("count", 2.0, reduce_fx="sum", **both)
        self.log("min", value, reduce_fx="min", **both)
        self.log("max", value, reduce_fx="max", **both)
        # The first rank's batches count four times as much.
        size = {"batch_size": 4 - 3 * rank, "on_step": False, "on_epoch": True}
        self.log("weighted", value, **size)
        self.log("weighted/sync", value, sync_dist=True, **size)
        self.log("zero", value, rank_zero_only=True)
        if rank == 0:
            self.log("only0", value)
        else:
            self.log("only1", 7.0)
        time.sleep(self.pause_s)
        return self.layer(batch).mean()

    def validation_step(self, batch, batch_idx):
        self.log("val", 10.0 * self.global_rank + batch_idx, on_step=True, on_epoch=True)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)


def main():
    strategy, steps, *pause_s = sys.argv[1:]
    run = tracelet.start_logging("ranks", config={"export_interval": 0.2, **CONFIG})
    if os.environ.get("FORKED"):
        Module.on_train_start = lambda self: run.log_metric("by hand", 1.0 + self.global_rank, 3)
    trainer = quiet_trainer(
        pl,
        devices=int(os.environ.get("DEVICES", "2")),
        num_nodes=int(os.environ.get("NODES", "1")),
        strategy=strategy,
        max_steps=int(steps),
        logger=[Witness(), tracelet.TraceletLogger()] if os.environ.get("OWN_LOGGER") else Witness(),
        num_sanity_val_steps=0,
    )
    data = torch.utils.data.DataLoader(torch.randn(16, 4), batch_size=2)
    trainer.fit(Module(float(pause_s[0]) if pause_s else 0.0), data, data)
    left = [name for name in os.environ if name.startswith("TRACELET_") and name not in KNOWN]
    run.stop()
    left += [name for name in os.environ if name == "TRACELET_RECORDER"]
    assert list(run.errors) == json.loads(os.environ.get("ERRORS", "[]")), run.errors
    assert not left, left


if __name__ == "__main__":
    main()
