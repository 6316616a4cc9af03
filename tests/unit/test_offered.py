"""Which run the processes find that this one starts."""

from __future__ import annotations

import os

import pytest

from tracelet_otel._support.environment import recorder_text
from tracelet_otel.session.offered import OfferedRuns
from tracelet_otel.settings import load

SETTINGS, OFF = load({}, {}), load({}, {"workers": "off"})
PID = os.getpid()


@pytest.fixture(autouse=True)
def found(monkeypatch):
    """What the process has found that works for process 1."""
    monkeypatch.setenv("TRACELET_RECORDER", "1:above.1.0")


def test_it_is_the_oldest_run_that_goes_on_and_at_last_that_of_the_parent():
    offered, one, two = OfferedRuns(), object(), object()
    offered.offer(one, SETTINGS, "a.1.0", is_opening=True)
    assert recorder_text() == f"{PID}:a.1.0:opening"
    offered.offer(two, SETTINGS, "a.2.0")
    offered.offer(one, SETTINGS, "a.1.0")
    assert recorder_text() == f"{PID}:a.1.0"
    offered.withdraw(one)
    offered.withdraw(one)
    assert recorder_text() == f"{PID}:a.2.0"
    offered.withdraw(two)
    assert recorder_text() == "1:above.1.0"


def test_processes_find_nothing_where_that_is_asked_for():
    offered = OfferedRuns()
    offered.offer(offered, OFF, "a.1.0")
    assert recorder_text() is None


def test_what_the_process_had_before_another_program_took_its_place_is_forgotten(monkeypatch):
    monkeypatch.setenv("TRACELET_RECORDER", f"{PID}:a.1.0")
    offered = OfferedRuns()
    offered.offer(offered, SETTINGS, "b.1.0")
    assert recorder_text() == f"{PID}:b.1.0"
    offered.withdraw(offered)
    assert recorder_text() is None
