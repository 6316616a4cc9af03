"""The file of a run's spans: what is in it when a relay dies, and what becomes of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.waiting import wait_until
from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.errors import RefusedError, RunLostError, TrackerUnavailableError
from tracelet_otel.protocol.requests import MalformedError
from tracelet_otel.relay.phase import TooLateError
from tracelet_otel.relay.traces import RunSpans, accept_spans

RESOURCE = {semconv.RUN_ID: "r1", semconv.PROJECT_NAME: "p"}


class Store:
    """A tracker of spans, which can be ill."""

    def __init__(self) -> None:
        self.ill: Exception | None = None
        self.names: list[str] = []
        self.opened: list[str] = []
        self.asked = threading.Event()

    def trace_writer(self) -> Store:
        return self

    def open(self, run: Any) -> None:
        self.asked.set()
        if isinstance(self.ill, RunLostError):
            raise self.ill
        self.opened.append(run.run_id)

    def write(self, spans: ExportTraceServiceRequest) -> None:
        self.asked.set()
        if self.ill is not None:
            raise self.ill
        self.names += [span.name for one in spans.resource_spans for scope in one.scope_spans for span in scope.spans]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journals" / "r1.spans"


@pytest.fixture
def make(path: Path) -> Callable[..., RunSpans]:
    def make(*stores: Any, guard: Guard | None = None) -> RunSpans:
        spans = RunSpans(path, guard or Guard())
        spans.begin({f"t{number}": store for number, store in enumerate(stores)}, RESOURCE)
        return spans

    return make


def request(*names: str, run_id: str = "r1") -> ExportTraceServiceRequest:
    made = ExportTraceServiceRequest()
    for name in names:
        resource = made.resource_spans.add()
        attribute = resource.resource.attributes.add(key=semconv.RUN_ID)
        attribute.value.string_value = run_id
        resource.scope_spans.add().spans.add(name=name)
    return made


def test_each_tracker_gets_each_span_and_the_file_is_gone(path, make):
    one, other = Store(), Store()
    spans = make(one, other)
    assert not path.exists()
    for name in ("a", "b", "c"):
        spans.accept(request(name))
    spans.close(10)
    assert one.names == other.names == ["a", "b", "c"]
    assert one.opened == ["r1"]
    assert not path.exists()
    with pytest.raises(TooLateError):
        spans.accept(request("d"))


def test_the_file_is_empty_where_all_is_delivered(path, make):
    store = Store()
    spans = make(store)
    for name in ("a", "b"):
        spans.accept(request(name))
        wait_until(lambda: path.stat().st_size == 0, 10, "the delivery")
    spans.close(10)
    assert store.names == ["a", "b"]


def test_what_a_relay_has_left_is_delivered_by_the_next_but_for_a_part(path, make):
    ill, well = Store(), Store()
    ill.ill = TrackerUnavailableError("away")
    guard = Guard()
    spans = make(ill, guard=guard)
    spans.accept(request("a"))
    spans.accept(request("b"))
    assert spans.pending("t0")
    spans.close(0.1)
    assert guard.counts == {"spans were not delivered": 1}
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2 - 3])
    spans = make(well)
    spans.accept(request("c"))
    spans.close(10)
    assert well.names == ["a", "b", "c"]
    assert not path.exists()


def test_a_tracker_that_comes_back_has_all_in_order(make):
    store = Store()
    store.ill = OSError("no network")
    spans = make(store)
    spans.accept(request("a"))
    assert store.asked.wait(10)
    store.ill = None
    spans.accept(request("b"))
    spans.close(10)
    assert store.names == ["a", "b"]


def test_what_is_refused_holds_up_nothing(path, make):
    guard, store = Guard(), Store()
    store.ill = RefusedError("no")
    spans = make(store, guard=guard)
    spans.accept(request("a"))
    wait_until(lambda: not spans.pending("t0"), 10, "the refusal")
    store.ill = None
    spans.accept(request("b"))
    spans.close(10)
    assert (store.names, guard.counts, path.exists()) == (["b"], {"t0 has refused spans": 1}, False)


def test_a_run_that_is_lost_takes_none(path, make):
    guard, store = Guard(), Store()
    store.ill = RunLostError("deleted")
    spans = make(store, guard=guard)
    spans.accept(request("a"))
    wait_until(lambda: not spans.pending("t0"), 10, "the loss")
    spans.close(10)
    assert (store.names, guard.counts, path.exists()) == ([], {"t0 has refused spans": 1}, False)


def test_trackers_without_spans_leave_no_file(path, make):
    spans = make(object())
    spans.accept(request("a"))
    spans.close(10)
    assert not path.parent.exists()


def test_a_run_that_never_began_leaves_what_is_there(path, make):
    ill = Store()
    ill.ill = TrackerUnavailableError("away")
    spans = make(ill)
    spans.accept(request("a"))
    spans.close(0)
    RunSpans(path, Guard()).close(0)
    assert path.exists()


def test_a_request_of_several_runs(path, make):
    store = Store()
    spans = make(store)
    body = request("a", "b")
    body.MergeFrom(request("c", run_id="r2"))
    body.resource_spans.add().scope_spans.add().spans.add(name="of no run")
    accept_spans(body.SerializeToString(), {"r1": spans}.get)
    spans.close(10)
    assert store.names == ["a", "b"]
    with pytest.raises(MalformedError):
        accept_spans(b"\xff", {"r1": spans}.get)
