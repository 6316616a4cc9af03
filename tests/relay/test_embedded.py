"""A relay in the training's own process: the same delivery, and a journal that outlives a kill."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import tracelet_otel as tracelet
from tests.support.mlflow_store import stored_run, stored_runs
from tests.support.waiting import free_port, wait_until
from tracelet_otel._support.guard import Guard
from tracelet_otel.exporters.otlp.backlog import Body
from tracelet_otel.exporters.otlp.transport import Verdict
from tracelet_otel.relay.journal import Journal, JournalError
from tracelet_otel.relay.replay import journals, replay

IN_PROCESS = {"relay": False, "track_system": False, "export_interval": 0.05}


def test_a_run_is_complete_and_leaves_nothing(database, tmp_path, caplog):
    with tracelet.start_logging("one", config=IN_PROCESS) as run:
        run.log_params({"lr": 0.1})
        for step in range(2_000):
            run.log_metric("loss", 1 / (step + 1), step)
    stored = stored_run(database)
    assert Counter((name, step, value) for name, step, value, _ in stored.points) == Counter(
        ("loss", step, 1 / (step + 1)) for step in range(2_000)
    )
    assert (stored.status, stored.params) == ("FINISHED", {"lr": "0.1"})
    assert (run.accounts["mlflow"].delivered, run.errors, caplog.text) == (2_000, {}, "")
    assert run.urls["mlflow"]
    assert list((tmp_path / "journals").iterdir()) == []


@pytest.mark.parametrize("killed", [False, True])
def test_a_forked_child_that_ends_and_a_kill_take_nothing(start, database, tmp_path, killed):
    """The child has a copy of the journal's connection, which it must not close."""
    child = start("embedded.py", 400, stdin=subprocess.PIPE)
    for step in range(400):
        assert child.stdout.readline().split() == [str(step)], child.communicate(timeout=60)
    if killed:
        # What was logged has to leave once more after an interval.
        wait_until(lambda: written(database) == 400, 60, "the last row")
        child.send_signal(signal.SIGKILL)
        child.communicate()
        (journal,) = journals(tmp_path / "journals")
        assert replay(journal, 30).complete
    else:
        _, errors = child.communicate(timeout=60)
        assert child.wait() == 0, errors
    stored = stored_run(database)
    assert Counter(step for _, step, *_ in stored.points) == Counter(range(400))
    assert stored.status == ("KILLED" if killed else "FINISHED")
    assert journals(tmp_path / "journals") == []


def written(database):
    return sum(len(run.points) for run in stored_runs(database))


def test_what_a_tracker_does_not_take_stays_for_a_replay(tmp_path, mlflow_server, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.uri)
    config = {**IN_PROCESS, "stop_timeout": 1.0}
    run = tracelet.start_logging("left", config=config)
    run.log_metric("loss", 1.0, 0)
    wait_until(lambda: run.accounts["mlflow"].delivered == 1, 30, "the first value")
    tracker = run._role.connection._relay.run._deliveries._by_name["mlflow"]._tracker

    def refuse(_):
        raise tracelet.TrackerUnavailableError("it is down")

    monkeypatch.setattr(tracker, "log_readings", refuse)
    run.log_metric("loss", 2.0, 1)
    run.set_tags({"stage": "late"})
    run.set_note("left for a replay")
    began_s = time.monotonic()
    run.stop()
    assert time.monotonic() - began_s < 10
    assert (run.accounts["mlflow"].delivered, run.accounts["mlflow"].pending) == (1, 1)
    assert "1 not delivered yet: it is down. What is left stays in" in caplog.text
    (journal,) = journals(tmp_path / "journals")
    status = replay(journal, 30)
    assert (status.complete, status.accounts["mlflow"].delivered) == (True, 2)
    (stored,) = [one for one in stored_runs(mlflow_server.database) if one.tags.get("tracelet.run.id") == run.id]
    assert (stored.tags["stage"], stored.note) == ("late", "left for a replay")


def test_a_tracker_that_does_not_give_the_run_is_said_at_once_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(tracelet.TrackerUnavailableError, match="cannot be reached"):
        tracelet.start_logging("none", config=IN_PROCESS)
    assert list((tmp_path / "journals").iterdir()) == []


def test_the_end_does_not_wait_for_a_disk_that_takes_nothing(database, monkeypatch, caplog):
    def full(*_, **__):
        raise JournalError("no space left")

    run = tracelet.start_logging("full", config={**IN_PROCESS, "stop_timeout": 1.0})
    monkeypatch.setattr(Journal, "write", full)
    run.log_metric("loss", 1.0, 0)
    began_s = time.monotonic()
    run.stop()
    assert time.monotonic() - began_s < 15
    assert "1 not delivered to the relay: no space left" in caplog.text
    assert run.errors["values were not delivered"] == 1


def test_what_is_no_request_is_refused_and_holds_up_nothing(database):
    with tracelet.start_logging("one", config=IN_PROCESS) as run:
        transport = run._role.connection.transport(lambda: None, Guard())
        answer = transport.send(Body(b"\xff", is_gzip=False, samples=1))
        assert answer.verdict is Verdict.REFUSED
        run.log_metric("loss", 1.0, 0)
    assert [point[:3] for point in stored_run(database).points] == [("loss", 0, 1.0)]


def test_wandb_asks_for_a_relay():
    with pytest.raises(tracelet.ConfigurationError, match=r"backend 'wandb' needs a relay: .*relay_endpoint"):
        tracelet.start_logging("none", backend="wandb", config=IN_PROCESS)


def test_rank_0_of_several_waits_for_nobody(database, monkeypatch):
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "job"}.items():
        monkeypatch.setenv(name, value)
    with tracelet.start_logging("rank 0", config=IN_PROCESS) as run:
        run.log_metric("loss", 1.0, 0)
        wait_until(lambda: run.accounts["mlflow"].delivered == 1, 5, "the value, without the other rank")
    assert [point[:3] for point in stored_run(database).points] == [("loss", 0, 1.0)]


@pytest.mark.cold
def test_no_other_process_takes_the_journal_of_a_training_that_lives(tmp_path, database):
    with tracelet.start_logging("one", config=IN_PROCESS) as run:
        run.log_metric("loss", 1.0, 0)
        # Not in this process: POSIX would take away its own lock, were the file opened here again.
        command = [Path(sys.executable).with_name("tracelet-otel"), "replay", tmp_path / "journals"]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (ended.returncode, "in use by another process" in ended.stdout + ended.stderr) == (1, True), ended
    assert len(stored_run(database).points) == 1
