"""The run of a process opens once, however many begin it, and not after its end."""

from __future__ import annotations

import threading
import time

import pytest

from tests.support.sdk import exported
from tests.support.waiting import wait_until
from tracelet_otel._support.environment import is_opening_elsewhere, recorder_text
from tracelet_otel.errors import TrackerError
from tracelet_otel.session.role import Silent
from tracelet_otel.settings import load
from tracelet_otel.zero_code.run import ZeroCodeRun


class SlowRole(Silent):
    """A role whose trackers give the run when the test lets them."""

    def __init__(self):
        super().__init__()
        self.let = threading.Event()
        self.opened, self.abandoned, self.closed = 0, 0, 0

    def open(self, resource, guard, *, waits=False):
        self.opened += 1
        self.let.wait(30)

    def abandon(self):
        self.abandoned += 1

    def close(self):
        self.closed += 1


@pytest.fixture
def run():
    run = ZeroCodeRun()
    run._role = SlowRole()
    run._settings = load({"start_timeout": 0.1, "track_system": False, "track_git": False}, None)
    yield run
    run._role.let.set()


def opening(run):
    with run._changed:
        run._start_opening({})
    wait_until(lambda: run._role.opened, 30, "the opening")


def test_a_run_that_could_not_be_opened_is_looked_for_by_no_worker(run, monkeypatch):
    monkeypatch.delenv("TRACELET_RECORDER", raising=False)

    def fail(resource, guard, *, waits=False):
        assert is_opening_elsewhere()
        raise TrackerError("no such run")

    monkeypatch.setattr(run._role, "open", fail)
    with run._changed:
        run._start_opening({})
    wait_until(lambda: run._given_up, 30, "the end of the opening")
    wait_until(lambda: recorder_text() is None, 30, "the end of what workers find")


def test_whoever_begins_it_while_it_is_opened_opens_no_second_one(run):
    thread = threading.Thread(target=run._open_for_copies)
    thread.start()
    wait_until(lambda: run._role.opened, 30, "the opening")
    run.export(exported([{"a": 1.0}]))
    run.training_begins()
    run._open_for_copies()
    run._role.let.set()
    thread.join()
    assert run._role.opened == 1
    assert not run._kept


def test_after_its_end_nothing_opens_it(run):
    run.close()
    run._open_for_copies()
    run.training_begins()
    assert run._role.opened == 0


def test_a_run_that_opens_too_late_is_given_back(run):
    opening(run)
    run.close()
    assert run._role.closed == 1
    run._role.let.set()
    wait_until(lambda: run._role.abandoned, 30, "the end of the run")
    assert not run._is_open


def test_the_end_waits_for_the_opening_once(run):
    opening(run)
    began_s = time.monotonic()
    run.end()
    run.close()
    assert time.monotonic() - began_s < 0.35


def test_what_was_given_up_is_not_flushed(run):
    run._give_up(ValueError("no such backend"))
    assert not run.flush(0.1)
