"""How a training really ended, as real child processes with real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import THROUGH_A_RELAY
from tests.support.mlflow_store import stored_run
from tests.support.waiting import wait_until

SCRIPT = """
import warnings; warnings.simplefilter("ignore")
import os, sys, time
from pathlib import Path
import lightning.pytorch as pl
import tracelet_otel as tracelet
from tests.support.trainings import Training, loader, regression
import torch

how = sys.argv[1]

def on_train_batch_end(self, *_):
    with open("rows", "a") as rows:
        print(self.trainer.fit_loop.epoch_loop._batches_that_stepped, file=rows)
    if self.trainer.global_step == 5:
        if how in ("exception", "caught", "caught, then good"):
            raise ValueError("a bug")
        if how == "should_stop":
            self.trainer.should_stop = True
        if how in ("SIGINT", "SIGTERM"):
            Path("ready").touch()
            while True:  # the signal ends it; Lightning looks for SIGTERM between batches
                time.sleep(0.01)
                if self.trainer.received_sigterm:
                    break

def fit(how="good"):
    module = regression(pl, on_train_batch_end=on_train_batch_end) if how != "good" else regression(pl)
    trainer = pl.Trainer(max_epochs=2, logger=False, accelerator="cpu", enable_checkpointing=False,
                         enable_progress_bar=False, enable_model_summary=False, log_every_n_steps=1)
    trainer.fit(module, "no loader" if how == "bad argument" else loader(), loader(16, seed=1))

run = tracelet.start_logging()
if how.startswith("caught"):
    try:
        fit(how)
    except ValueError:
        pass
    if how == "caught, then good":
        fit()
else:
    fit(how)
if os.environ.get("STOP"):
    tracelet.stop_logging()
"""


@pytest.fixture
def training(tmp_path, monkeypatch, request):
    """Starts a training that ends in a given way; the returned function waits for its end."""
    monkeypatch.setenv("PYTHONPATH", str(request.config.rootpath))
    (tmp_path / "train.py").write_text(SCRIPT)

    def start(how: str, **environment: str) -> subprocess.Popen[bytes]:
        with (tmp_path / "log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "train.py", how], stdout=log, stderr=log, env={**os.environ, **environment}
            )

    return start


ENDS = pytest.mark.parametrize(
    ("how", "code", "status"),
    [
        ("normal", 0, "FINISHED"),
        ("should_stop", 0, "FINISHED"),
        ("exception", 1, "FAILED"),
        ("bad argument", 1, "FAILED"),
        ("caught", 0, "FAILED"),
        ("caught, then good", 0, "FINISHED"),
        ("SIGINT", 1, "KILLED"),
        ("SIGTERM", 0, "KILLED"),
    ],
)


@ENDS
def test_the_status_says_how_the_training_ended_and_all_rows_before_are_there(training, database, how, code, status):
    check(training, database, how, code, status, stop="")


@pytest.mark.slow
@THROUGH_A_RELAY
@ENDS
def test_the_status_is_the_same_where_the_script_stops_the_run(training, database, how, code, status):
    check(training, database, how, code, status, stop="yes")


def check(training, database, how: str, code: int, status: str, stop: str) -> None:
    child = training(how, STOP=stop)
    if how.startswith("SIG"):
        wait_until(lambda: Path("ready").exists() or child.poll() is not None, 60, "the fifth batch")
        child.send_signal(getattr(signal, how))
    assert child.wait(60) == code, Path("log").read_text()
    stored = stored_run(database)
    assert stored.status == status
    if how == "bad argument":
        return
    logged = {step for name, step, *_ in stored.points if name == "train/step_only"}
    seen = [int(line) for line in Path("rows").read_text().split()]
    # Lightning hands out the row of a batch after the hook in which these trainings end.
    before_the_end = set(seen[:-1] if how in {"exception", "caught", "SIGINT"} else seen)
    assert (logged & before_the_end if how == "caught, then good" else logged) == before_the_end
