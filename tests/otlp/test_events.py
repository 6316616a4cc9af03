"""Events of a run: where they go, by both protocols."""

from __future__ import annotations

import logging
import os
import time

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

import tracelet_otel as tracelet
from tests.support.waiting import free_port
from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.events import Events
from tracelet_otel.protocol.events import Event, encode_events

pytestmark = [pytest.mark.usefixtures("with_time"), pytest.mark.whole]


def train(config: dict[str, object] | None = None) -> tracelet.Run:
    """A run with enough steps for a verdict."""
    from tests.support.quiet import quiet_trainer
    from tests.support.trainings import loader, namespace, regression

    pl = namespace("lightning.pytorch")
    with tracelet.start_logging("a run", backend="otlp", config=config) as run:
        quiet_trainer(pl, max_epochs=1).fit(regression(pl), loader(200))
    return run


def test_the_verdict_of_a_run_is_an_event(receiver, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
    run = train()
    assert run.errors == {}
    [(name, body, attributes, resource)] = receiver.events
    assert name == semconv.EVENT_VERDICT
    assert body.startswith(f"{attributes[semconv.VERDICT]}: {attributes[semconv.VERDICT_SHARE]:.0%}")
    assert resource[semconv.RUN_ID] == run.id
    # The metric of the same run has the same.
    [metric] = [one for one in receiver.metrics if one.name == semconv.RUN_VERDICT][-1:]
    assert metric.gauge.data_points[-1].as_double == attributes[semconv.VERDICT_SHARE]


def test_a_training_that_fails_says_why(receiver, monkeypatch):
    from tests.support.quiet import quiet_trainer
    from tests.support.trainings import loader, namespace, regression

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
    pl = namespace("lightning.pytorch")

    def training_step(self, batch, batch_idx):
        raise ValueError("bad batch")

    with pytest.raises(ValueError, match="bad batch"), tracelet.start_logging("a run", backend="otlp") as run:
        quiet_trainer(pl, max_epochs=1).fit(regression(pl, training_step=training_step), loader(8))
    [(name, body, attributes, resource)] = receiver.events
    assert (name, body) == (semconv.EVENT_EXCEPTION, "ValueError: bad batch")
    ends = """in training_step
    raise ValueError("bad batch")
ValueError: bad batch
"""
    assert attributes.pop(semconv.EXCEPTION_STACKTRACE).endswith(ends)
    assert attributes == {semconv.EXCEPTION_TYPE: "ValueError", semconv.EXCEPTION_MESSAGE: "bad batch"}
    assert resource[semconv.RUN_ID] == run.id


def test_what_is_printed_is_sent_as_log_records(receiver, monkeypatch, capfd):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
    monkeypatch.setenv("MY_TOKEN", "supersecret")
    with tracelet.start_logging("a run", backend="otlp", config={"console": True}) as run:
        os.write(1, b"one\nWARNING:root:two\n")
        os.write(2, b"bar 1\rbar 2\nsupersecret\n")
    assert run.errors == {}
    # Pytest sees what it would see without us.
    assert capfd.readouterr() == ("one\nWARNING:root:two\n", "bar 1\rbar 2\nsupersecret\n")
    found = [
        (one.body.string_value, one.severity_text, one.attributes[0].value.string_value, one.event_name)
        for request in receiver.logs
        for logs in request.resource_logs
        for scope in logs.scope_logs
        for one in scope.log_records
    ]
    assert sorted(found) == [
        ("***", "", "stderr", ""),
        ("WARNING:root:two", "WARN", "stdout", ""),
        ("bar 2", "", "stderr", ""),
        ("one", "", "stdout", ""),
    ]
    assert {one.attributes[0].key for one in receiver.logs[0].resource_logs[0].scope_logs[0].log_records} == {
        "log.iostream"
    }


def test_a_receiver_of_other_signals_only_is_no_problem(receiver, protocol, monkeypatch, caplog):
    receiver.takes_logs = False
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
    caplog.set_level(logging.INFO, "tracelet_otel")
    assert train().errors == {}
    said = [one.getMessage() for one in caplog.records if "takes no logs" in one.getMessage()]
    assert len(said) == 1
    assert said[0].endswith("OTEL_LOGS_EXPORTER=none turns them off")
    assert receiver.events == []


def test_the_standard_variables_are_heeded(receiver, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
    monkeypatch.setenv("OTEL_LOGS_EXPORTER", "none")
    train()
    assert (receiver.events, len(receiver.traces) > 0) == ([], True)
    monkeypatch.setenv("OTEL_LOGS_EXPORTER", "")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "long")
    with pytest.raises(tracelet.ConfigurationError, match="OTEL_EXPORTER_OTLP_LOGS_TIMEOUT"):
        train()


def test_a_dead_endpoint_of_events_is_waited_for_no_longer_than_one_of_metrics(receiver, monkeypatch):
    from tests.support.quiet import quiet_trainer
    from tests.support.trainings import loader, namespace, regression

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
    dead = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", dead)
    pl = namespace("lightning.pytorch")
    run = tracelet.start_logging("a run", backend="otlp")
    quiet_trainer(pl, max_epochs=1).fit(regression(pl), loader(200))
    began_s = time.monotonic()
    run.stop()
    # Five seconds is what a collector has that takes nothing.
    assert time.monotonic() - began_s < 10
    assert run.errors["events were not delivered"] == 1


def test_attributes_keep_their_types():
    told = {"text": "a", "yes": True, "count": 3, "share": 0.5, "list": ["a", "b"]}
    request = ExportLogsServiceRequest.FromString(encode_events([Event("x", 7, "it is", told)], {"run": "1"}))
    [logs] = request.resource_logs
    [record] = logs.scope_logs[0].log_records
    assert (record.event_name, record.time_unix_nano, record.severity_text) == ("x", 7, "INFO")
    values = {one.key: one.value for one in record.attributes}
    assert (values["text"].string_value, values["yes"].bool_value) == ("a", True)
    assert (values["count"].int_value, values["share"].double_value) == (3, 0.5)
    assert [one.string_value for one in values["list"].array_value.values] == ["a", "b"]


class Broken:
    def export_events(self, events: list[Event]) -> None:
        raise RuntimeError("full")


class Keeps:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def export_events(self, events: list[Event]) -> None:
        self.events += events


def test_each_exporter_gets_each_event_whenever_it_comes():
    guard = Guard()
    events, early, late = Events(guard), Keeps(), Keeps()
    first, second = Event("x", 1, "first"), Event("x", 2, "second")
    events.add_exporter(Broken())
    events.add_exporter(early)
    events.emit(first)
    events.add_exporter(late)
    events.emit(second)
    assert early.events == late.events == [first, second]
    assert guard.counts == {"events were not delivered": 2}
