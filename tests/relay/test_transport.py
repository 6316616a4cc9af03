"""The sender: what an export holds arrives whole, in however many bodies it travels."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from tests.support.collector import Collector
from tests.support.sdk import exported
from tracelet_otel._support.guard import UNDELIVERED, Guard
from tracelet_otel.exporters.otlp.limits import Limits
from tracelet_otel.protocol.decode import decode
from tracelet_otel.protocol.messages import Taken
from tracelet_otel.relay.clock import Clock
from tracelet_otel.relay.meter import RelayMeter
from tracelet_otel.relay.server import Application, HttpServer, listen
from tracelet_otel.session.calls import Address
from tracelet_otel.session.ranks.rendezvous import RunAddress
from tracelet_otel.session.ranks.waiting import RelayingExporter
from tracelet_otel.session.transport import TO_RELAY, relay_exporter

TOKEN = "a-token-for-this-test-only"


class Taker:
    """A relay's door that lets nothing in before it is opened."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.readings: list[tuple[str, float, int]] = []
        self.ended: list[bool] = []

    def __call__(self, requests) -> list[Taken]:
        self.open.wait(30)
        for batch in (batch for request in requests for batch in decode(request.resource_metrics)):
            self.readings += [(reading.name, reading.value, reading.step) for reading in batch.readings]
            self.ended.append(batch.ended)
        return [Taken() for _ in requests]


@pytest.fixture
def taker():
    return Taker()


@pytest.fixture
def guard():
    return Guard()


@pytest.fixture
def relay(taker):
    guard = Guard()
    application = Application(TOKEN, taker, {}.get, guard, Clock(), RelayMeter(list))
    server = HttpServer(application, listen("127.0.0.1", 0))
    yield Address(f"http://127.0.0.1:{server.port}", TOKEN)
    taker.open.set()
    server.stop()
    assert guard.counts == {}


@pytest.fixture
def exporter(taker, relay, guard):
    exporter = relay_exporter(lambda: relay, lambda: None, guard, limits=Limits(2000))
    yield exporter
    taker.open.set()
    exporter.shutdown(timeout_millis=0)
    assert guard.counts == {}


def test_no_part_of_a_large_export_gives_way_to_a_later_one(exporter, taker):
    rows = [{f"metric {number}": step + number / 8} for step in range(20) for number in range(5)]
    exporter.export(exported(rows))
    # Exports without samples follow while the first is under way.
    for _ in range(3):
        exporter.export(exported([]))
    assert exporter.account.pending == 100
    taker.open.set()
    assert exporter.force_flush(30_000)
    assert sorted(taker.readings) == sorted(
        (name, value, step) for step, values in enumerate(rows) for name, value in values.items()
    )


def test_that_a_run_has_ended_comes_after_all_its_rows(exporter, taker):
    rows = [{f"metric {number}": 1.0} for number in range(100)]
    taker.open.set()
    exporter.export(exported(rows, end=True))
    assert exporter.force_flush(30_000)
    assert len(taker.readings) == 100
    assert len(taker.ended) > 10
    assert [ended for ended in taker.ended if ended is not None] == [True]
    assert taker.ended[-1]


def test_what_waits_for_a_relay_has_a_bound_and_what_is_dropped_is_counted(taker, relay, guard, caplog):
    exporter = relay_exporter(lambda: relay, lambda: None, guard, limits=replace(TO_RELAY, backlog_bytes=20_000))
    for export in range(100):
        exporter.export(exported([{"loss": float(export * 20 + row)} for row in range(20)]))
        assert exporter.sender.waiting_bytes <= 20_000
    dropped = guard.counts[UNDELIVERED]
    assert exporter.account.pending + dropped == 2_000
    taker.open.set()
    assert exporter.force_flush(30_000)
    exporter.shutdown()
    # The first export was on its way; of the others the oldest have gone.
    left = [*range(20), *range(20 + dropped, 2_000)]
    assert [value for _, value, _ in taker.readings] == left
    assert 0 < dropped < 1_900
    assert caplog.text.count("so much waits for the relay that the oldest values were dropped") == 1


def test_a_large_export_is_not_dropped_for_itself(taker, relay, guard):
    """Its parts are more than may wait, the relay is well, and what was on its way takes nothing of the room."""
    exporter = relay_exporter(lambda: relay, lambda: None, guard, limits=Limits(2_000, 1_000))
    exporter.export(exported([{"loss": float(step)} for step in range(10)]))
    exporter.export(exported([{"loss": float(step)} for step in range(10, 200)]))
    taker.open.set()
    assert exporter.force_flush(30_000)
    exporter.shutdown()
    assert sorted(value for _, value, _ in taker.readings) == list(range(200))
    assert guard.counts == {}


def test_who_exports_much_at_once_waits_for_room(taker, relay, guard):
    exporter = relay_exporter(lambda: relay, lambda: None, guard, limits=replace(TO_RELAY, backlog_bytes=5_000))
    rows = iter(range(1_000_000))
    while exporter.sender.waiting_bytes <= 2_500:
        exporter.export(exported([{"loss": float(next(rows))}]))
    threading.Timer(0.2, taker.open.set).start()
    exporter.wait_for_room(30)
    assert exporter.sender.waiting_bytes <= 2_500
    assert exporter.force_flush(30_000)
    exporter.shutdown()
    assert [value for _, value, _ in taker.readings] == list(range(next(rows)))
    assert guard.counts == {}


def test_room_is_waited_for_as_long_as_the_relay_takes_something(relay, guard):
    exporter = relay_exporter(lambda: relay, lambda: None, guard, limits=replace(TO_RELAY, backlog_bytes=5_000))
    while exporter.sender.waiting_bytes <= 2_500:
        exporter.export(exported([{"loss": 1.0}]))
    exporter.wait_for_room(0.1)
    assert exporter.sender.waiting_bytes > 2_500
    exporter.shutdown(timeout_millis=0)


def test_what_a_rank_keeps_until_its_run_is_found_has_a_bound(taker, relay, guard, monkeypatch):
    found: list[RunAddress] = []
    monkeypatch.setattr("tracelet_otel.session.ranks.waiting._MOST_KEPT", 100)
    taker.open.set()
    exporter = RelayingExporter(lambda _: next(iter(found), None), dict, "rank 1", guard)
    for export in range(30):
        exporter.export(exported([{"loss": float(export * 10 + row)} for row in range(10)]))
    found.append(RunAddress("r1", "run", "project", relay.endpoint, relay.token, "elsewhere", 0, ""))
    assert exporter.force_flush(30_000)
    exporter.shutdown()
    assert [value for _, value, _ in taker.readings] == list(range(200, 300))
    assert guard.counts == {
        "so much of rank 1 waits for its run that the oldest values were dropped": 20,
        "values of rank 1 were not delivered": 200,
    }


@pytest.mark.slow
def test_a_collector_in_place_of_a_relay_takes_what_had_to_wait(tmp_path, taker, relay, guard):
    headers = {"Authorization": f"Bearer {TOKEN}"}
    collector = Collector(tmp_path, relay.endpoint, headers)
    exporter = relay_exporter(lambda: Address(collector.endpoint("http"), TOKEN), lambda: None, guard)
    taker.open.set()
    for step in range(20):
        exporter.export(exported([{"loss": float(step)}]))
    collector.start()
    assert exporter.force_flush(30_000)
    exporter.shutdown()
    collector.stop()
    assert [value for _, value, _ in taker.readings] == list(range(20))
    assert guard.counts == {}
