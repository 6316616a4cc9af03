"""Trainings that fail at one place: before their first value, or after their last one.

As a script it trains with what `PLACE` names, and has never heard of us.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader

STEPS = 2
_LONGEST_S = 60


@dataclass(frozen=True)
class Ending:
    """How a training ends that fails at a place."""

    fails: Callable[..., Any] | None
    """Is called there; None where Lightning finds something wrong by itself."""
    status: str = "FAILED"
    """Of its run in MLflow."""
    kind: str | None = "PlannedError"
    """Name of the exception that the run tells as its reason; None for none."""
    message: str = "not today"
    """What its message begins with."""
    steps: int = 0
    """How many values have been logged."""
    code: int = 1
    """Exit code of a script."""
    is_sudden: bool = False
    """Whether nothing more happens in the process: it needs one of its own."""


class PlannedError(Exception):
    pass


def fail(*_: Any, **__: Any) -> Any:
    raise PlannedError("not today")


def fail_when_recorded(*_: Any, **__: Any) -> Any:
    wait_for_run()
    fail()


def interrupt(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


def leave(*_: Any, **__: Any) -> Any:
    wait_for_run()
    os._exit(3)


def kill(*_: Any, **__: Any) -> Any:
    wait_for_run()
    os.kill(os.getpid(), signal.SIGKILL)


def exit_badly(*_: Any, **__: Any) -> Any:
    sys.exit(3)


def exit_well(*_: Any, **__: Any) -> Any:
    sys.exit()


def wait_for_run() -> None:
    """Wait until MLflow, in the working directory, has the run."""
    ends_s = time.monotonic() + _LONGEST_S
    with closing(sqlite3.connect("file:mlflow.db?mode=ro", uri=True)) as connection:
        while connection.execute("SELECT 1 FROM runs WHERE status = 'RUNNING'").fetchone() is None:
            assert time.monotonic() < ends_s, "no run is recorded"
            time.sleep(0.02)


_EXITED = Ending(exit_badly, kind="SystemExit", message="3", code=3)
ENDINGS = {
    "module: prepare_data": Ending(fail_when_recorded),
    "module: setup": Ending(fail),
    "module: configure_model": Ending(fail),
    "module: configure_optimizers": Ending(fail),
    "module: train_dataloader": Ending(fail),
    "module: validation_step": Ending(fail),  # in the sanity check
    "module: training_step": Ending(fail),
    "module: on_fit_end": Ending(fail, steps=STEPS),
    "module: teardown": Ending(fail, steps=STEPS),
    "callback: setup": Ending(fail),
    "callback: on_fit_start": Ending(fail),
    "callback: on_sanity_check_start": Ending(fail),
    "callback: on_train_start": Ending(fail),
    "callback: on_fit_end": Ending(fail, steps=STEPS),
    "callback: teardown": Ending(fail, steps=STEPS),
    "worker of the dataloader": Ending(fail, message="Caught PlannedError in DataLoader worker process 0"),
    "module without training_step": Ending(None, kind="MisconfigurationException", message="No `training_step()`"),
    "Trainer": Ending(None, kind="MisconfigurationException", message="`Trainer(devices=0)`"),
    "after fit": Ending(fail, steps=STEPS),
    "after fit, sys.exit(3)": Ending(exit_badly, kind="SystemExit", message="3", steps=STEPS, code=3),
    # The training went well, and so did the process.
    "another thread": Ending(fail, "FINISHED", None, "", STEPS, 0),
    "module: training_step, Ctrl-C": Ending(interrupt, "KILLED", None, ""),
    "callback: on_train_start, sys.exit(3)": _EXITED,
    "callback: on_train_start, sys.exit()": Ending(exit_well, "FINISHED", None, "", code=0),
    "module: setup, os._exit(3)": Ending(leave, "KILLED", "exit status", "", code=3, is_sudden=True),
    "module: training_step, kill -9": Ending(kill, "KILLED", "SIGKILL", "killed by SIGKILL", code=-9, is_sudden=True),
}
"""By place, with `module: ` or `callback: ` before the name of a method, and what happens there behind a comma."""


class Net(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = self.layer(batch).square().mean()
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.layer(batch)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.05)


class Rows(torch.utils.data.Dataset[Any]):
    """Two batches, of which `fails` is called for each row."""

    def __init__(self, fails: Callable[..., Any] | None = None) -> None:
        self._fails = fails

    def __len__(self) -> int:
        return 4 * STEPS

    def __getitem__(self, index: int) -> Any:
        if self._fails is not None:
            self._fails()
        return torch.ones(4) * index


def train(place: str) -> None:
    """Train for two batches, and fail.

    Args:
        place: where, a key of `ENDINGS`.
    """
    fails = ENDINGS[place].fails
    owner, _, method = place.partition(",")[0].partition(": ")
    hook = {method: fails} if method else {}
    of_module = hook if owner == "module" else {"training_step": None} if "without" in place else {}
    net = type("Failing", (Net,), of_module)()
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        devices=int(place != "Trainer"),
        callbacks=[type("FailingCallback", (pl.Callback,), hook)()] if owner == "callback" else [],
        logger=False,
        log_every_n_steps=1,
        num_sanity_val_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    if place == "another thread":
        other = threading.Thread(target=fails)
        other.start()
        other.join()
    in_worker = place.startswith("worker")
    loader = DataLoader(Rows(fails if in_worker else None), 4, num_workers=int(in_worker))
    trainer.fit(net, None if method == "train_dataloader" else loader, DataLoader(Rows(), 4))
    if place.startswith("after fit") and fails is not None:
        fails()


if __name__ == "__main__":
    train(os.environ["PLACE"])
