"""What people see of a run: when it begins, while it is waited for, and at its end."""

from __future__ import annotations

import os
import pty
import re
import sys
import threading
import time
from pathlib import Path

import pytest

import tracelet_otel as tracelet
from tests.support.mlflow_store import stored_runs
from tests.support.waiting import wait_until
from tracelet_otel._support.guard import Guard
from tracelet_otel.protocol.account import Account
from tracelet_otel.protocol.main_metrics import MetricRange, main_metrics
from tracelet_otel.session.screen import RunBegun, RunEnded, RunScreen
from tracelet_otel.session.screen.live_line import LiveLine
from tracelet_otel.session.screen.text import begin_text, end_text

UI = r"http://127\.0\.0\.1:5000/#/experiments/1/runs/{id}\?workflowType=machine_learning"
PLACE = rf"`mlflow ui --backend-store-uri sqlite:///{{database}}`, then open {UI}"
OFFLINE = "the run is offline: upload it with `wandb sync x`"


pytestmark = pytest.mark.usefixtures("with_screen")


def shown(capsys):
    return capsys.readouterr().err


def test_a_run_says_where_it_is_and_how_it_went(database, capsys):
    run = tracelet.start_logging("my run", "my project")
    place = PLACE.format(database=re.escape(str(database)), id=run.ids["mlflow"])
    began = shown(capsys)
    assert re.fullmatch(rf"tracelet: recording 'my run' in project 'my project'; mlflow: {place}\n", began), began
    for step, value in enumerate([3.0, float("nan"), 0.5, 1.25]):
        run.log_metric("val/loss", value, step)
    run.log_metric("train/loss", 2.0, 0)
    tracelet.stop_logging()
    ended = shown(capsys).splitlines()
    assert re.fullmatch(r"tracelet: 'my run' finished after \d+\.\d s", ended[0]), ended
    assert ended[1:5] == [
        "  metric      last  lowest  highest",
        "  val/loss    1.25     0.5        3",
        "  train/loss     2       2        2",
        "  mlflow: 5 rows, 5 readings delivered",
    ]
    assert re.fullmatch(rf"    {place}", ended[5]), ended
    assert len(ended) == 6
    run.stop()
    assert not shown(capsys), "it ends once"


@pytest.mark.parametrize("how", ["setting", "variable"])
def test_quiet(database, capsys, monkeypatch, how):
    if how == "variable":
        monkeypatch.setenv("TRACELET_QUIET", "true")
    with tracelet.start_logging("my run", config={"quiet": True} if how == "setting" else None) as run:
        run.log_metric("loss", 1.0, 0)
    assert shown(capsys) == ""
    [stored] = stored_runs(database)
    assert stored.points


def test_a_run_that_fails_says_so(database, capsys):
    with pytest.raises(ZeroDivisionError), tracelet.start_logging("my run"):
        1 / 0  # noqa: B018
    assert "tracelet: 'my run' failed after " in shown(capsys)


def test_several_backends_have_a_line_each():
    begun = RunBegun("a", "b", "id", {"mlflow": "https://one", "wandb": OFFLINE})
    assert begin_text(begun).splitlines() == [
        "tracelet: recording 'a' in project 'b'",
        "  mlflow: https://one",
        f"  wandb: {OFFLINE}",
    ]
    accounts = {"mlflow": Account(1200, 2, 30, None, 0), "wandb": Account(1230, 0, 0, None, 0)}
    ended = RunEnded("interrupted", 3723.4, 400, accounts, [], "tracelet: 64 steps in 1.4 s\n  forward  1.4 s")
    assert end_text(begun, ended).splitlines() == [
        "tracelet: 'a' interrupted after 1:02:03",
        "  64 steps in 1.4 s",
        "    forward  1.4 s",
        "  mlflow: 400 rows, 1,200 readings delivered, 2 refused, 30 not delivered yet",
        "    https://one",
        "  wandb: 400 rows, 1,230 readings delivered",
        f"    {OFFLINE}",
    ]


def test_what_is_not_known_stays_empty():
    values = [MetricRange(f"m{number:02}", float(number)) for number in range(12)]
    values += [MetricRange("loss_step", 1.0, 1.0, 1.0), MetricRange("loss_epoch", 2.0, None, None)]
    lines = end_text(RunBegun("a", "b", "id", {}), RunEnded("finished", 1, 0, {}, values)).splitlines()
    assert lines[1:3] == ["  metric      last  lowest  highest", "  loss_epoch     2"]
    assert lines[-1] == "  and 3 more"


def test_evaluations_come_first():
    names = ["epoch", "a", "val_b", "time/forward", "system/cpu", "c_step", "c_epoch", "test/d"]
    assert main_metrics(names) == ["test/d", "val_b", "a", "c_epoch"]


class Terminal:
    """Standard error is a terminal, of which this is the other end."""

    def __init__(self, monkeypatch):
        self._end, side = pty.openpty()
        self._side = os.fdopen(side, "w")
        self._monkeypatch = monkeypatch
        self.text = ""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        while True:
            try:
                part = os.read(self._end, 65536)
            except OSError:
                return
            self.text += part.decode()

    def __enter__(self):
        # pytest has its own standard error there before and after each test.
        self._monkeypatch.setattr(sys, "stderr", self._side)
        return self

    def __exit__(self, *_):
        self._monkeypatch.undo()
        self._side.close()
        self._thread.join()
        os.close(self._end)


def test_a_terminal_has_one_line_that_is_written_over(monkeypatch):
    with Terminal(monkeypatch) as terminal:
        line = LiveLine()
        line.show("waiting: 1 of 3")
        line.show("waiting: 2 of 3")
        line.clear()
        line.clear()
        line.say("all\nis there")
        wait_until(lambda: terminal.text.endswith("is there\r\n"), 10, "the text")
    assert terminal.text == "\r\x1b[Kwaiting: 1 of 3\r\x1b[Kwaiting: 2 of 3\r\x1b[K\r\x1b[Kall\r\nis there\r\n"


def test_what_takes_long_is_said_on_a_terminal_and_wiped_away(monkeypatch):
    monkeypatch.setattr("tracelet_otel.session.screen.live_line._PATIENCE_S", 0.05)
    with Terminal(monkeypatch) as terminal:
        with LiveLine().spinning("tracelet: starting, waiting for mlflow"):
            wait_until(lambda: terminal.text.count("waiting for mlflow (") > 2, 10, "some frames")
        wait_until(lambda: terminal.text.endswith("\r\x1b[K"), 10, "the end")


def test_what_is_quick_is_not_said(monkeypatch):
    with Terminal(monkeypatch) as terminal:
        with LiveLine().spinning("tracelet: starting"):
            pass
        LiveLine().say("next")
        wait_until(lambda: terminal.text.endswith("next\r\n"), 10, "the text")
    assert "starting" not in terminal.text


def test_a_file_has_one_line_of_a_wait(capsys, monkeypatch):
    line = LiveLine()
    for number in range(30):
        line.show(f"waiting: {number}")
    now_s = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now_s + 61)
    line.show("still waiting")
    line.clear()
    with line.spinning("nothing of this"):
        pass
    assert shown(capsys) == "waiting: 0\nstill waiting\n"


def test_nobody_reads(monkeypatch):
    with Path(os.devnull).open() as unwritable:
        for stream in (None, unwritable):
            monkeypatch.setattr(sys, "stderr", stream)
            LiveLine().say("to nobody")
            LiveLine().show("to nobody")
        monkeypatch.undo()


def test_what_cannot_be_shown_is_counted(monkeypatch):
    guard = Guard()
    screen = RunScreen(is_quiet=False, guard=guard)
    monkeypatch.setattr("tracelet_otel.session.screen.begin_text", None)
    screen.begin(RunBegun("a", "b", "id", {}), dict)
    assert guard.counts == {"the run's beginning could not be shown": 1}


def test_a_mistake_has_no_traceback_of_ours():
    with pytest.raises(tracelet.ConfigurationError, match="did you mean 'mlflow'") as raised:
        tracelet.start_logging(backend="mlfow")
    assert [frame.name for frame in raised.traceback] == ["test_a_mistake_has_no_traceback_of_ours", "start_logging"]
    assert raised.value.__cause__ is None
