"""Every sample arrives: at an endpoint, through a real collector, and past its failures."""

from __future__ import annotations

import time

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.sdk.metrics.export import MetricExportResult

from tests.otlp.stream import Stream
from tests.support.collector import Collector
from tests.support.otlp_receiver import HttpReceiver
from tests.support.sdk import exported, provider, reader
from tests.support.waiting import wait_until
from tracelet_otel._support.guard import Guard
from tracelet_otel.exporters.otlp import sender as otlp_sender
from tracelet_otel.exporters.otlp.exporter import collector_exporter
from tracelet_otel.exporters.otlp.limits import Limits

SMALL = Limits(request_bytes=2**20, backlog_bytes=10_000, patience_s=5)
"""About ten exports may wait."""


@pytest.fixture
def collector(tmp_path, backend):
    # Each request is forwarded before it is answered: what it has accepted is not lost with it.
    collector = Collector(tmp_path, backend.endpoint, headers={"authorization": "Bearer x"})
    yield collector
    collector.kill()


@pytest.fixture
def guard():
    return Guard()


def test_every_sample_arrives_once_with_all_that_it_says(receiver, guard):
    stream = Stream(collector_exporter(receiver.endpoint, guard=guard), interval_ms=20)
    stream.log(500)
    stream.end()
    assert receiver.samples == stream.expected
    assert (stream.exporter.account.delivered, stream.exporter.account.pending, guard.counts) == (1000, 0, {})


def test_every_sample_passes_a_real_collector_once(protocol, collector, backend, guard):
    collector.start()
    stream = Stream(collector_exporter(collector.endpoint(protocol), guard=guard), interval_ms=20)
    stream.log(500)
    stream.end()
    assert backend.samples == stream.expected
    assert {headers["authorization"] for headers in backend.headers} == {"Bearer x"}
    assert guard.counts == {}


def test_an_export_that_is_larger_than_a_collector_takes_travels_in_parts(protocol, collector, backend, guard):
    collector.start()
    exporter = collector_exporter(collector.endpoint(protocol), guard=guard)
    exporter.export(exported([{f"metric {number}": step * number for number in range(100)} for step in range(500)]))
    exporter.shutdown()
    assert [sample[-1] for sample in backend.samples] == list(range(1, 50_001))
    assert (exporter.account.delivered, guard.counts) == (50_000, {})


def test_a_collector_that_batches_and_limits_its_memory_gets_everything(tmp_path, protocol, backend):
    collector = Collector(tmp_path, backend.endpoint, batch_ms=100, memory_limit_mib=500)
    collector.start()
    stream = Stream(collector_exporter(collector.endpoint(protocol)), interval_ms=20)
    stream.log(100)
    stream.end()
    collector.stop()
    assert backend.samples == stream.expected


def test_a_collector_may_start_late_and_be_killed_in_mid_run(protocol, collector, backend, guard, monkeypatch):
    # A call to what has died may hang for so long.
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2")
    stream = Stream(collector_exporter(collector.endpoint(protocol), guard=guard), interval_ms=20)
    stream.log(20)
    wait_until(lambda: guard.counts, 30, "a failed attempt")
    collector.start()
    wait_until(lambda: set(stream.expected) <= set(backend.samples), 30, "the arrival of what was logged before")
    collector.kill()
    failures = sum(guard.counts.values())
    stream.log(20)
    wait_until(lambda: sum(guard.counts.values()) > failures, 30, "another failed attempt")
    stream.log(20)
    collector.start()
    stream.log(20)
    stream.end()
    assert sorted(set(backend.samples), key=lambda sample: sample[-1]) == stream.expected
    assert (stream.exporter.account.delivered, stream.exporter.account.pending) == (160, 0)


def test_a_lost_answer_makes_duplicates_that_are_known_by_their_sequence(receiver):
    receiver.ill = "loses the answer"
    stream = Stream(collector_exporter(receiver.endpoint))
    stream.log(3)
    stream.collect()
    wait_until(lambda: len(receiver.requests) > 1, 30, "a second attempt")
    receiver.ill = None
    stream.end()
    assert len(receiver.samples) > 6
    assert sorted(set(receiver.samples), key=lambda sample: sample[-1]) == stream.expected
    assert stream.exporter.account.delivered == 6


@pytest.mark.parametrize("ill", ["hangs", "503"])
def test_an_export_never_waits_for_the_endpoint(receiver, ill):
    # It asks for a pause, so that the next attempt comes after all exports, however slow the machine is.
    receiver.ill, receiver.pause_s = ill, 60
    exporter = collector_exporter(receiver.endpoint)
    wait_until(lambda: exporter.export(exported([{"a": 1.0}])) and receiver.attempts, 30, "an attempt")
    # It is under way, and will be for seconds.
    data = exported([{"a": 1.0}])
    assert [exporter.export(data) for _ in range(100)] == [MetricExportResult.SUCCESS] * 100
    assert receiver.attempts == 1
    receiver.ill = None
    receiver.well_again.set()
    exporter.shutdown()
    assert exporter.account.pending == 0


def test_what_is_refused_for_good_holds_up_nothing_else(receiver, guard, caplog):
    receiver.ill = "400"
    exporter = collector_exporter(receiver.endpoint, guard=guard)
    exporter.export(exported([{"bad": 1.0}]))
    wait_until(lambda: exporter.account.refused, 30, "the refusal")
    receiver.ill = None
    exporter.export(exported([{"good": 1.0}]))
    exporter.shutdown()
    assert [sample[0] for sample in receiver.samples] == ["good"]
    assert (exporter.account.delivered, exporter.account.refused, exporter.account.pending) == (1, 1, 0)
    assert "not today" in exporter.account.problem
    assert guard.counts["values were not delivered"] == 1
    assert "otlp: 1 values delivered, 1 refused, 0 not delivered to http://127.0.0.1:" in caplog.text


def test_an_export_at_which_the_endpoint_fails_again_and_again_gives_way(receiver, guard, monkeypatch):
    monkeypatch.setattr(otlp_sender, "_LONGEST_PAUSE_S", 0.01)
    monkeypatch.setattr(otlp_sender, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(otlp_sender, "_DOUBTED_S", 1.0)
    receiver.ill = "500"
    start = time.monotonic()
    exporter = collector_exporter(receiver.endpoint, guard=guard)
    exporter.export(exported([{"bad": 1.0}]))
    wait_until(lambda: exporter.account.refused, 30, "the refusal")
    assert receiver.attempts >= 10
    assert time.monotonic() - start >= 1
    receiver.ill = None
    exporter.export(exported([{"good": 1.0}]))
    exporter.shutdown()
    assert [sample[0] for sample in receiver.samples] == ["good"]


def test_a_key_that_is_refused_loses_nothing_as_long_as_the_run_goes_on(receiver, guard):
    receiver.ill = "401"
    exporter = collector_exporter(receiver.endpoint, guard=guard)
    exporter.export(exported([{"a": 1.0}]))
    wait_until(lambda: receiver.attempts > 1, 30, "a second attempt")
    receiver.ill = None
    exporter.shutdown()
    assert exporter.account.delivered == 1


def test_the_queue_is_bounded_and_what_it_drops_is_said(receiver, guard, caplog):
    receiver.ill = "401"
    exporter = collector_exporter(receiver.endpoint, guard=guard, limits=SMALL)
    for number in range(30):
        exporter.export(exported([{f"metric {number}": number}]))
    wait_until(lambda: receiver.attempts > 1, 30, "another attempt")
    dropped = exporter.account.refused
    assert dropped > 0
    assert exporter.account.pending + dropped == 30
    assert guard.counts["values were not delivered"] == dropped
    assert caplog.text.count("that the oldest values were dropped") == 1
    receiver.ill = None
    exporter.shutdown()
    arrived = {sample[0] for sample in receiver.samples}
    assert len(arrived) == exporter.account.delivered == 30 - exporter.account.refused
    assert "metric 29" in arrived


def test_what_is_kept_without_end_gives_way_where_too_much_waits(receiver, guard):
    receiver.ill = "hangs"
    exporter = collector_exporter(receiver.endpoint, guard=guard, limits=SMALL)
    exporter.export(exported([{"first": 1.0}]))
    wait_until(lambda: receiver.attempts, 30, "an attempt")
    for _ in range(30):
        exporter.export(exported([{"a": 1.0}]))
    dropped = exporter.account.refused
    receiver.ill = "401"
    receiver.well_again.set()
    wait_until(lambda: exporter.account.refused > dropped, 30, "the end of the first")
    receiver.ill = None
    exporter.shutdown()
    assert "first" not in {sample[0] for sample in receiver.samples}
    assert exporter.account.delivered + exporter.account.refused == 31


def test_everything_is_cumulative(receiver):
    meters = provider(only := reader(collector_exporter(receiver.endpoint)))
    meter = meters.get_meter("any")
    observed = iter(range(10, 100, 10))
    meter.create_observable_counter("observable", [lambda _: [metric(next(observed))]])
    meter.create_observable_up_down_counter("observable_both", [lambda _: [metric(3)]])
    kinds = [meter.create_counter("counter"), meter.create_up_down_counter("both")]
    histogram = meter.create_histogram("histogram")
    for _ in range(2):
        for instrument in kinds:
            instrument.add(1)
        histogram.record(1)
        only.collect()
    meters.shutdown()
    last = {one.name: one for one in receiver.metrics}
    sums = {name: one.sum for name, one in last.items() if one.HasField("sum")}
    cumulative = metrics_pb2.AGGREGATION_TEMPORALITY_CUMULATIVE
    assert {one.aggregation_temporality for one in sums.values()} == {cumulative}
    assert last["histogram"].histogram.aggregation_temporality == cumulative
    assert last["histogram"].histogram.data_points[0].count == 2
    assert {name: one.data_points[0].as_int for name, one in sums.items()} == {
        "counter": 2,
        "both": 2,
        "observable": 30,
        "observable_both": 3,
    }


def metric(value):
    from opentelemetry.metrics import Observation

    return Observation(value)


def test_what_is_known_late_of_the_resource_is_in_each_export_from_then_on(receiver):
    late: dict[str, str] = {}
    stream = Stream(collector_exporter(receiver.endpoint, attributes=lambda: late))
    stream.log()
    stream.collect()
    stream.exporter.force_flush()
    late["tracelet.rank"] = "3"
    stream.log()
    stream.end()
    ranks = [resource.get("tracelet.rank") for resource in receiver.resources]
    assert ranks[0] is None
    assert set(ranks[1:]) == {"3"}
    assert {resource["tracelet.run.id"] for resource in receiver.resources} == {"r1"}


def test_what_an_endpoint_has_taken_in_part_is_said(monkeypatch, guard, caplog):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    receiver = HttpReceiver()
    answer = ExportMetricsServiceResponse()
    answer.partial_success.rejected_data_points = 2
    answer.partial_success.error_message = "too old"
    receiver.answer = answer.SerializeToString()
    exporter = collector_exporter(receiver.endpoint, guard=guard)
    exporter.export(exported([{"a": 1.0}]))
    exporter.shutdown()
    receiver.stop()
    assert guard.counts == {"the OTLP endpoint has taken an export in part only": 1}
    assert "2 points were rejected: too old" in caplog.text


def test_a_redirect_is_no_delivery_and_shows_no_secret(monkeypatch, guard, caplog):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    receiver = HttpReceiver()
    receiver.ill = "307"
    exporter = collector_exporter(f"{receiver.endpoint}/?token=hush", guard=guard)
    exporter.export(exported([{"a": 1.0}]))
    exporter.shutdown(timeout=300)
    receiver.stop()
    assert exporter.account.pending == 1
    assert "redirects to http://other/v1/metrics, where OTLP does not follow" in exporter.account.problem
    assert "hush" not in caplog.text
    assert "secret" not in caplog.text
