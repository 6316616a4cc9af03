"""How a run starts and ends where something is in its way."""

from __future__ import annotations

import math
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from datetime import datetime

import pytest

import tracelet_otel as tracelet
from tests.integration.conftest import BOTH
from tests.support.clearml_files import session
from tests.support.mlflow_store import stored_run
from tests.support.trainings import Training, namespace
from tests.support.waiting import wait_until
from tests.support.wandb_files import offline_files, offline_run

pytestmark = BOTH


def test_an_interrupted_end_says_what_is_missing(database, caplog):
    run = tracelet.start_logging()
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for step in range(20):
            run.log_metric("a", 1.0, step)
        threading.Timer(1, signal.raise_signal, (signal.SIGINT,)).start()
        with pytest.raises(KeyboardInterrupt):
            tracelet.stop_logging()
        other.rollback()
    assert "20 not delivered" in caplog.text
    assert tracelet.get_active_run() is None


def test_a_run_tells_its_id_in_each_backend_and_a_value_without_a_step_is_at_that_of_the_trainer(
    tmp_path, database, mode
):
    others = ["wandb", "clearml"] if mode == "relay" else ["clearml"]
    run = tracelet.start_logging("ids", backend=["mlflow", *others])
    run.log_metric("before", 1.0)
    Training({"max_epochs": 1})(namespace("lightning.pytorch"), False)
    run.log_metric("after", 2.0)
    ids = run.ids
    assert repr(run) == f"<Run 'ids' in 'Default': recording, {', '.join(['mlflow', *others])}, id {run.id}>"
    assert all(url in run._repr_html_() for url in run.urls.values())
    run.stop()
    stored = stored_run(database)
    steps = {name: step for name, step, *_ in stored.points}
    assert (steps["before"], steps["after"]) == (0, max(steps.values()))
    assert ids == run.ids
    assert sorted(ids) == sorted(["mlflow", *others])
    assert ids["mlflow"] == stored.run_id
    assert (tmp_path / "clearml" / "offline" / f"{ids['clearml']}.zip").exists()
    assert ("wandb" in others) == bool(offline_files(tmp_path / "wandb", ids.get("wandb", run.id)))


def test_a_run_ends_with_its_training_and_not_with_its_delivery(tmp_path, database, mode):
    before_ns = time.time_ns()
    # Without a relay there is no W&B.
    others = ["wandb", "clearml"] if mode == "relay" else ["clearml"]
    run = tracelet.start_logging("times", backend=["mlflow", *others])
    Training({"max_epochs": 1})(namespace("lightning.pytorch"), False)
    ended_ns = time.time_ns()
    wait_until(lambda: time.time_ns() > ended_ns + 10**9, 10, "a second")
    run.stop()
    stored = stored_run(database)
    first_ms, *_, last_ms = sorted(ms for *_, ms in stored.points)
    assert before_ns // 10**6 <= stored.start_ms <= first_ms
    assert last_ms <= stored.end_ms <= ended_ns // 10**6
    # The others count time by themselves, and are told.
    told_to = [session(tmp_path / "clearml" / "offline" / f"offline-{run.id}.zip").properties]
    paths = [one for one in offline_files(tmp_path / "wandb", run.id) if not one.parent.is_symlink()]
    told_to += [offline_run(path).config["otel"] for path in paths]
    assert len(told_to) == len(others)
    for told in told_to:
        times = [datetime.fromisoformat(told[f"tracelet.run.{which}_time"]) for which in ("start", "end")]
        assert [int(one.timestamp() * 1e3) for one in times] == [stored.start_ms, stored.end_ms]


def test_a_second_stop_waits_for_the_first(database):
    run = tracelet.start_logging()
    for step in range(20_000):
        run.log_metric("a", 1.0, step)
    threading.Thread(target=run.stop, daemon=True).start()
    run.stop()
    stored = stored_run(database)
    assert (len(stored.points), stored.status) == (20_000, "FINISHED")


def test_a_session_at_the_prompt_is_not_failed_by_a_typo(database):
    typed = "1/0\nimport tracelet_otel as t\nr = t.start_logging()\nr.log_metric('a', 1, 1)\n2/0\n"
    prompt = subprocess.run([sys.executable, "-i", "-q"], input=typed, text=True, capture_output=True, check=False)
    assert prompt.stderr.count("ZeroDivisionError") == 2
    assert stored_run(database).status == "FINISHED"


def test_credentials_of_an_address_are_in_no_error(monkeypatch):
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class HangsUp(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/health":
                self.send_response(200)
                self.end_headers()

    server = HTTPServer(("127.0.0.1", 0), HangsUp)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(tracelet.TrackerError) as raised:
        tracelet.start_logging(backend_url=f"http://me:sEcReT@127.0.0.1:{server.server_port}")
    server.shutdown()
    server.server_close()
    assert "sEcReT" not in str(raised.value)
    error = raised.value
    assert error.__suppress_context__ or error.__context__ is None, "MLflow's own error would be shown beside ours"


def test_a_run_that_cannot_be_continued_leaves_no_experiment(database):
    from mlflow import MlflowClient

    with pytest.raises(tracelet.ConfigurationError):
        tracelet.start_logging(project="new", config={"run_id": "nowhere"})
    assert MlflowClient(f"sqlite:///{database}").get_experiment_by_name("new") is None


def test_a_continued_run_keeps_the_infinities_it_has(database):
    with tracelet.start_logging() as first:
        first.log_metric("a", math.inf, 1)
    with tracelet.start_logging(config={"run_id": first.id}) as second:
        second.log_metric("a", -math.inf, 9)
    assert stored_run(database).tags["tracelet.nonfinite.a"] == "+Inf at step 1, -Inf at step 9"


def test_empty_variables_are_unset(database, monkeypatch):
    for name in ("PROJECT", "API_KEY", "BACKEND", "STOP_TIMEOUT"):
        monkeypatch.setenv(f"TRACELET_{name}", "")
    with tracelet.start_logging():
        pass
    assert stored_run(database).experiment == "Default"


def test_many_cycles_leave_nothing_behind(database):
    before = set(threading.enumerate())
    for _ in range(5):
        with tracelet.start_logging() as run:
            run.log_metric("a", 1.0, 0)
    assert set(threading.enumerate()) <= before
