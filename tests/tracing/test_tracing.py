"""What others ask of the spans of a process, and when they are exported."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.trace import SpanContext

from tests.support.quiet import quiet_trainer
from tests.support.trainings import loader, regression
from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.lightning import LightningInstrumentor
from tracelet_otel.instrumentation.own_run import Participation
from tracelet_otel.instrumentation.signals import make_signals, traced
from tracelet_otel.instrumentation.tracing.builder import NewSpan
from tracelet_otel.instrumentation.tracing.tracing import Tracing
from tracelet_otel.protocol.spans import FinishedSpan, Trace

pl = importlib.import_module("lightning.pytorch")
pytestmark = pytest.mark.whole


class Kept:
    """A `SpanExporter` that keeps what it gets."""

    def __init__(self) -> None:
        self.spans: list[FinishedSpan] = []
        self.traces: set[Trace] = set()

    def export(self, spans: list[FinishedSpan], trace: Trace) -> None:
        self.spans += spans
        self.traces.add(trace)


@pytest.fixture
def reader() -> InMemoryMetricReader:
    return InMemoryMetricReader()


@pytest.fixture
def run_id() -> list[str]:
    """The run's id, as soon as there is one in it."""
    return []


@pytest.fixture
def tracing(reader: InMemoryMetricReader, run_id: list[str]) -> Iterator[Tracing]:
    provider = MeterProvider([reader], shutdown_on_exit=False)
    part = Participation(tracks_time=True)
    signals = traced(make_signals(provider, Guard(), participation=part), provider, lambda: "".join(run_id))
    LightningInstrumentor().take_over(signals)
    assert signals.tracing is not None
    yield signals.tracing
    LightningInstrumentor().uninstrument()
    provider.shutdown()
    assert signals.guard.counts == {}


@pytest.fixture
def kept(tracing: Tracing) -> Kept:
    kept = Kept()
    tracing.add_exporter(kept)
    return kept


def fit(each_batch: Callable[[], Any] = lambda: None) -> list[Any]:
    found = []

    class Asks(pl.Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            found.append(each_batch())

    quiet_trainer(pl, max_epochs=1, callbacks=[Asks()]).fit(regression(pl), loader(8))
    return found


def by_name(spans: list[FinishedSpan]) -> dict[str, FinishedSpan]:
    return {span.name: span for span in spans}


def test_the_span_that_was_open(tracing, kept, run_id, reader):
    moments: list[int] = []

    def ask() -> SpanContext | None:
        moments.append(time.perf_counter_ns())
        return tracing.context_at(moments[-1])

    assert fit(ask) == [None, None]  # the trace is not known yet
    run_id.append("r1")
    later = [tracing.context_at(moment) for moment in moments]
    reader.get_metrics_data()
    epoch = by_name(kept.spans)["epoch"]
    expected = SpanContext(Trace.of("r1", {}).trace_id, epoch.span_id, is_remote=False, trace_flags=1)
    assert later == [expected, expected]
    assert tracing.context_at(time.perf_counter_ns()) is None


def test_a_span_with_its_parts_is_added(tracing, kept, run_id):
    run_id.append("r1")

    def add() -> SpanContext | None:
        now_ns = time.perf_counter_ns()
        phases = [NewSpan("forward", now_ns - 2_000, now_ns - 1_000), NewSpan("backward", now_ns - 1_000, now_ns)]
        return tracing.add(NewSpan("step", now_ns - 2_000, now_ns, {semconv.STEP_END: 1}, phases))

    (first, second) = fit(add)
    tracing.finish()
    found = by_name(kept.spans)
    steps = [span for span in kept.spans if span.name == "step"]
    assert [span.span_id for span in steps] == [first.span_id, second.span_id]
    assert {span.parent_id for span in steps} == {found["epoch"].span_id}
    assert [dict(span.attributes) for span in steps] == [{semconv.STEP_END: 1}] * 2
    for name in ("forward", "backward"):
        assert [span.parent_id for span in kept.spans if span.name == name] == [one.span_id for one in steps]
        assert found[name].end_unix_nano - found[name].begin_unix_nano == 1_000
    now_ns = time.perf_counter_ns()
    assert tracing.add(NewSpan("step", now_ns, now_ns)) is None


def test_spans_wait_for_their_run(tracing, kept, run_id, reader):
    fit(reader.get_metrics_data)
    assert (kept.spans, tracing.trace) == ([], None)
    run_id.append("r1")
    data = reader.get_metrics_data()
    assert [span.name for span in kept.spans] == ["setup", "epoch", "fit"]
    assert kept.traces == {Trace.of("r1", {})}
    counted = [
        metric.data.data_points[0].value
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == semconv.SPANS
    ]
    assert counted == [3]


def test_an_exporter_that_comes_late_gets_what_has_ended_before(tracing, kept, run_id, reader):
    run_id.append("r1")
    fit()
    reader.get_metrics_data()
    late = Kept()
    tracing.add_exporter(late)
    assert late.spans == kept.spans != []
    fit()
    reader.get_metrics_data()
    assert late.spans == kept.spans


def test_a_forked_child_exports_nothing(tracing, kept, run_id):
    run_id.append("r1")
    tracing.notes.enter(quiet_trainer(pl), "fit", lambda _: 0)
    pid = os.fork()
    if pid == 0:
        tracing.collect()
        tracing.finish()
        added = tracing.add(NewSpan("step", 0, 0)), tracing.context_at(time.perf_counter_ns())
        os._exit(int(bool(kept.spans) or added != (None, None)))
    assert os.waitpid(pid, 0)[1] == 0
    tracing.finish()
    assert [span.name for span in kept.spans] == ["setup", "fit"]
