"""Spans that a receiver was sent, as a tree that can be compared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass
class SpanNode:
    """A span with all that is in it."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    begin_ns: int
    end_ns: int
    attributes: dict[str, Any]
    is_error: bool
    resource: dict[str, Any]
    children: list[SpanNode] = field(default_factory=list)

    @property
    def shape(self) -> Any:
        """Name and attributes, and the same of what is in it, in the order of time; the name alone where it is all."""
        attributes = {name.removeprefix("tracelet."): value for name, value in self.attributes.items()}
        parts = [self.name, *([attributes] if attributes else []), *([shapes(self.children)] if self.children else [])]
        return tuple(parts)


def shapes(spans: Iterable[SpanNode]) -> list[Any]:
    """The shape of each, in the order of time."""
    return [span.shape for span in sorted(spans, key=lambda span: (span.begin_ns, -span.end_ns))]


def spans_of(requests: Iterable[ExportTraceServiceRequest]) -> list[SpanNode]:
    """Every span of every request."""
    return [
        SpanNode(
            span.name,
            span.trace_id.hex(),
            span.span_id.hex(),
            span.parent_span_id.hex(),
            span.start_time_unix_nano,
            span.end_time_unix_nano,
            _plain(span.attributes),
            span.status.code == span.status.STATUS_CODE_ERROR,
            _plain(resource.resource.attributes),
        )
        for request in list(requests)
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def tree(spans: Iterable[SpanNode]) -> list[SpanNode]:
    """Those spans whose parents are not among them, with all others in them."""
    by_id = {span.span_id: span for span in spans}
    roots = []
    for span in by_id.values():
        if span.parent_id in by_id:
            by_id[span.parent_id].children.append(span)
        else:
            roots.append(span)
    return roots


def _plain(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
