"""Two ranks of Fabric: `fabric_training.py STRATEGY [after]`; the run begins before its launch, or after.

Rank 0 leaves what it hands to Fabric's own logger in `csv`, and each rank who it is in `process.RANK`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import lightning.fabric as fabrics
import lightning.fabric.loggers
from tests.support.fabrics import quiet_fabric, train

import tracelet_otel as tracelet

KNOWN = ({*os.environ} - {"TRACELET_HANDOVER"}) | {"TRACELET_RECORDER"}
CONFIG = {"export_interval": 0.2, **json.loads(os.environ.get("CONFIG", "{}"))}
FAILS = os.environ.get("FAILS")


def log(fabric, loss, step):
    if str(fabric.global_rank) == FAILS and step == 3:
        raise ArithmeticError("diverged")
    fabric.log("loss", loss)
    fabric.log_dict({"rank": 1.0 + fabric.global_rank, "twice": loss * 2}, step=10 * step)
    if fabric.is_global_zero:
        fabric.log("only0", step / 3)


def work(fabric):
    run = tracelet.get_active_run()
    who = {"pid": os.getpid(), "place": run._role.membership.attributes, "owns": run._role.owns_run}
    Path(f"process.{fabric.global_rank}").write_text(json.dumps(who))
    train(fabric, log)
    fabric.save("kept.ckpt", {"step": 6})
    if fabric.is_global_zero:
        fabric.logger.save()
    assert run.errors == {}, run.errors
    return fabric.world_size


def main():
    strategy, *when = sys.argv[1:]
    if not when:
        run = tracelet.start_logging("ranks", config=CONFIG)
    logger = lightning.fabric.loggers.CSVLogger("csv", flush_logs_every_n_steps=10_000)
    fabric = quiet_fabric(fabrics, devices=int(os.environ.get("DEVICES", "2")), strategy=strategy, loggers=logger)
    if not when:
        fabric.log("before", 0.5, 1)
    if strategy in ("ddp_fork", "ddp_spawn"):
        assert fabric.launch(work) == 2
    else:
        fabric.launch()
        if when:
            run = tracelet.start_logging("ranks", config=CONFIG)
        work(fabric)
    left = [name for name in os.environ if name.startswith("TRACELET_") and name not in KNOWN]
    run.stop()
    assert run.errors == {}, run.errors
    assert not left, left


if __name__ == "__main__":
    main()
