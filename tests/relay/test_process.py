"""What the relay does to the process that trains, and where there is none."""

from __future__ import annotations

import pytest

import tracelet_otel as tracelet
from tests.support.mlflow_store import stored_run
from tracelet_otel import settings


def test_a_training_imports_no_tracker_and_has_one_child(database, python):
    child = python(
        """
import os, sys, threading
import psutil, torch
import lightning.pytorch as pl
from lightning.pytorch.demos.boring_classes import BoringModel
import tracelet_otel

before = set(threading.enumerate())
seen = []

class Look(pl.Callback):
    def on_train_batch_end(self, *_):
        seen.append([one.cmdline()[1:] for one in psutil.Process().children(recursive=True)])

tracelet_otel.start_logging("process")
trainer = pl.Trainer(
    max_epochs=1, limit_train_batches=20, callbacks=[Look()], logger=False, enable_checkpointing=False,
    enable_progress_bar=False, enable_model_summary=False, accelerator="cpu",
)
trainer.fit(BoringModel())
tracelet_otel.stop_logging()
assert len(seen) == 20
assert all(children == [["-m", "tracelet_otel.relay"]] for children in seen), seen
assert not psutil.Process().children()
loaded = {name.partition(".")[0] for name in sys.modules} & {"mlflow", "wandb", "clearml", "uvicorn", "sqlalchemy"}
assert not loaded, loaded
left = {thread.name for thread in set(threading.enumerate()) - before if thread.name.startswith("tracelet")}
assert not left, left
"""
    )
    assert child.returncode == 0, child.stderr
    assert stored_run(database).status == "FINISHED"


def test_nothing_secret_is_on_the_command_line_or_in_the_environment(database):
    import psutil

    secret = "sEcReT-of-the-user"
    with pytest.raises(tracelet.TrackerError):
        tracelet.start_logging(backend_url=f"http://me:{secret}@127.0.0.1:1", config={"start_timeout": 5})
    with tracelet.start_logging("process") as run:
        relay = psutil.Process(run._destination._connection.pid)
        token = run._destination._connection.address.token
        shown = " ".join([*relay.cmdline(), *relay.environ().values()])
        assert token not in shown
        assert not [name for name in relay.environ() if name.startswith(("OTEL_", "TRACELET_"))]
        assert relay.environ()["CUDA_VISIBLE_DEVICES"] == ""


def test_a_platform_without_relay_says_so(database, monkeypatch, caplog):
    monkeypatch.setattr(settings, "RELAY_PLATFORMS", ())
    with tracelet.start_logging("in process") as run:
        run.log_metric("loss", 1.0, 1)
    assert "there is no relay on linux: trackers live in this process" in caplog.text
    assert stored_run(database).points
    caplog.clear()
    with tracelet.start_logging("meant", config={"relay": False}):
        pass
    assert caplog.text == ""
    with pytest.raises(tracelet.ConfigurationError, match="there is no relay on linux: leave out relay=True"):
        tracelet.start_logging(config={"relay": True})
