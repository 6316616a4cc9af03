"""Requests that are taken together: what each sender is told."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from tests.support.sdk import exported
from tracelet_otel.protocol.messages import Taken
from tracelet_otel.protocol.requests import count_points
from tracelet_otel.relay.journal import JournalError
from tracelet_otel.relay.parts import RequestPart
from tracelet_otel.relay.phase import TooLateError
from tracelet_otel.relay.taking import Accepted, take

BUG = RuntimeError("a bug")
LATE = TooLateError("too late")
FULL = JournalError("the disk is full")


def request(*runs: str) -> ExportMetricsServiceRequest:
    found = ExportMetricsServiceRequest()
    for run in runs:
        found.MergeFrom(encode_metrics(exported([{"a": 1.0}], run)))
    return found


def accept(run_id: str, parts: Sequence[RequestPart]) -> Accepted:
    if run_id == "bug":
        raise BUG
    error = {"late": LATE, "full": FULL}.get(run_id)
    return Accepted([error for _ in parts], f"news of {run_id}")


def test_what_becomes_of_each_run_takes_no_other_along():
    asked = [
        request("one"),
        request("bug"),
        request("two", "one"),
        request("late"),
        request("one", "late"),
        request("one", "full"),
        request(),
    ]
    late = count_points(request("late").resource_metrics)
    assert take(asked, accept) == [
        Taken("news of one"),
        BUG,
        Taken("news of one\nnews of two"),
        LATE,
        Taken("run late: too late\nnews of one", late),
        # The whole request is sent again; what was accepted is known by then.
        FULL,
        Taken(),
    ]


def test_a_run_gets_the_parts_of_all_requests_at_once():
    calls: list[tuple[str, int]] = []

    def counted(run_id: str, parts: Sequence[RequestPart]) -> Accepted:
        calls.append((run_id, len(parts)))
        return accept(run_id, parts)

    take([request("one"), request("two"), request("one", "two"), request("one")], counted)
    assert calls == [("one", 3), ("two", 2)]
