"""The end of a run whose endpoint takes nothing: soon, and with what is missing counted and said."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.otlp.conftest import RECEIVERS
from tests.support.sdk import exported
from tests.support.waiting import free_port, wait_until
from tracelet_otel._support.guard import Guard
from tracelet_otel.exporters.otlp import sender as otlp_sender
from tracelet_otel.exporters.otlp.exporter import collector_exporter
from tracelet_otel.exporters.otlp.settings import HTTP

ILLS = ["hangs", "400", "401", "429", "500", "503"]
LONGEST_S = 6.5


@pytest.fixture
def black_hole():
    """An address that answers no attempt to connect."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for filler in fillers:
            filler.close()


def end_of(endpoint):
    """Seconds that the end takes, and what was made of the samples."""
    guard = Guard()
    exporter = collector_exporter(endpoint, guard=guard)
    for _ in range(3):
        exporter.export(exported([{"a": 1.0, "b": 2.0}]))
    start = time.monotonic()
    exporter.shutdown()
    return time.monotonic() - start, exporter.account, guard.counts


def test_the_end_waits_no_longer_than_five_seconds_and_counts_what_is_missing(protocol, black_hole, caplog):
    receivers = {ill: RECEIVERS[protocol]() for ill in ILLS}
    for ill, receiver in receivers.items():
        receiver.ill = ill
    endpoints = {ill: receiver.endpoint for ill, receiver in receivers.items()}
    endpoints["down"] = f"http://127.0.0.1:{free_port()}"
    endpoints["black hole"] = black_hole
    with ThreadPoolExecutor(len(endpoints)) as pool:
        ends = dict(zip(endpoints, pool.map(end_of, endpoints.values()), strict=True))
    for receiver in receivers.values():
        receiver.stop()
    for ill, (seconds, account, counts) in ends.items():
        assert seconds < LONGEST_S, ill
        assert (account.delivered, account.refused + account.pending) == (0, 6), ill
        assert account.pending == (0 if ill == "400" else 6), ill
        assert counts["values were not delivered"] == 6, ill
        assert f"{account.pending} not delivered to {endpoints[ill]}" in caplog.text
    assert "not today" in ends["401"][1].problem


def test_the_end_is_sooner_where_less_time_is_given(receiver):
    receiver.ill = "hangs"
    exporter = collector_exporter(receiver.endpoint)
    exporter.export(exported([{"a": 1.0}]))
    start = time.monotonic()
    exporter.shutdown(timeout=200)
    assert time.monotonic() - start < 2
    assert exporter.account.pending == 1
    # A second time there is nothing to do.
    exporter.shutdown()


def test_a_flush_does_not_wait_for_ever_either(receiver):
    receiver.ill = "hangs"
    exporter = collector_exporter(receiver.endpoint)
    exporter.export(exported([{"a": 1.0}]))
    assert not exporter.force_flush(200)
    receiver.ill = None
    receiver.well_again.set()
    assert exporter.force_flush(30_000)
    exporter.shutdown()


def test_the_end_does_not_wait_for_the_next_attempt(receiver, monkeypatch):
    monkeypatch.setattr(otlp_sender, "_FIRST_PAUSE_S", 60.0)
    receiver.ill = "401"
    exporter = collector_exporter(receiver.endpoint)
    exporter.export(exported([{"a": 1.0}]))
    wait_until(lambda: exporter.account.problem, 30, "a refused attempt")
    receiver.ill = None
    start = time.monotonic()
    exporter.shutdown()
    assert time.monotonic() - start < 2
    assert exporter.account.delivered == 1


def test_that_the_last_state_is_missing_is_said_where_no_sample_is(protocol, caplog):
    guard = Guard()
    address = f"127.0.0.1:{free_port()}"
    exporter = collector_exporter(f"http://me:hush@{address}" if protocol == HTTP else address, guard=guard)
    exporter.export(exported([]))
    exporter.shutdown(timeout=100)
    assert guard.counts["the last state of metrics was not delivered"] == 1
    assert "hush" not in caplog.text


def test_values_that_come_after_the_end_are_counted(receiver, caplog):
    guard = Guard()
    exporter = collector_exporter(receiver.endpoint, guard=guard)
    exporter.shutdown()
    exporter.export(exported([{"a": 1.0}]))
    assert (exporter.account.refused, guard.counts["values were not delivered"]) == (1, 1)


def test_what_arrives_after_the_end_gave_up_is_not_counted_as_missing(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", HTTP)
    receiver = RECEIVERS[HTTP]()
    guard = Guard()
    receiver.ill = "hangs, and answers"
    exporter = collector_exporter(receiver.endpoint, guard=guard)
    exporter.export(exported([{"a": 1.0}]))
    wait_until(lambda: receiver.attempts, 30, "the attempt")
    exporter.shutdown(timeout=100)
    assert guard.counts["values were not delivered"] == 1
    receiver.well_again.set()
    wait_until(lambda: exporter.account.delivered, 30, "the arrival")
    assert guard.counts["values were not delivered"] == 0
    receiver.stop()


@pytest.mark.slow
@pytest.mark.parametrize("ill", ["hangs", "503"])
def test_a_process_ends_in_order_where_its_collector_does_not_answer(receiver, ill, run):
    receiver.ill = ill
    start = time.monotonic()
    ended = run("never_ends.py", receiver.endpoint)
    assert time.monotonic() - start < 30
    assert ended.returncode == 0, ended.stderr
    assert "1 not delivered to http://127.0.0.1:" in ended.stderr
    assert "Traceback" not in ended.stderr
