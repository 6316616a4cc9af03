"""Spans of a training that have ended, and the trace that they belong to.

All processes of a run have one trace without a message between them: its id is made of the run's id, or is that of the
process that has started the training, which names it in the variable TRACEPARENT. Ids of spans are drawn from the
operating system. Python's global random generator is the training's, and where all ranks have seeded it alike, all
would draw the same ids.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import Decision, Sampler
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    Status,
    StatusCode,
    TraceFlags,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tracelet_otel import semconv

Attribute = str | int | float | bool
_SCOPE = InstrumentationScope(semconv.SCOPE_TRAINING)


@dataclass(frozen=True, slots=True)
class FinishedSpan:
    """A span that has ended."""

    name: str
    span_id: int
    parent_id: int | None
    """Id of the span around it; None for the call of a trainer."""
    begin_unix_nano: int
    end_unix_nano: int
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    error: str | None = None
    """Type of the exception that has ended it; None where none has."""


@dataclass(frozen=True)
class Trace:
    """The trace of a run."""

    trace_id: int
    run_id: str
    parent: SpanContext | None = None
    """The span of another process that this process is a part of; None for none."""

    @classmethod
    def of(cls, run_id: str, carrier: Mapping[str, str]) -> Trace:
        """The trace of a run.

        Args:
            run_id: id of the run.
            carrier: `traceparent` and `tracestate` of the process's environment. What is not of their form is not
                heeded. Source: W3C Trace Context.
        """
        parent = get_current_span(TraceContextTextMapPropagator().extract(carrier)).get_span_context()
        if parent.is_valid:
            return cls(parent.trace_id, run_id, parent)
        return cls(int.from_bytes(hashlib.sha256(run_id.encode()).digest()[:16], "big") or 1, run_id)

    @property
    def own(self) -> Trace:
        """The trace that the run has where it is not a part of another process's."""
        return Trace.of(self.run_id, {})

    def context(self, span_id: int) -> SpanContext:
        """What refers to one of its spans."""
        state = None if self.parent is None else self.parent.trace_state
        # Spans that a sampler does not want are not exported at all.
        flags = TraceFlags(TraceFlags.SAMPLED)
        return SpanContext(self.trace_id, span_id, is_remote=False, trace_flags=flags, trace_state=state)


def context_of(span: SpanContext) -> Context:
    """A context in which a span is the current one, so that a measurement refers to it."""
    return set_span_in_context(NonRecordingSpan(span), Context())


def is_sampled(trace: Trace, sampler: Sampler) -> bool:
    """Whether the spans of a trace are to be exported, by the SDK's sampler and by whoever began the trace."""
    context = None if trace.parent is None else context_of(trace.parent)
    decision = sampler.should_sample(context, trace.trace_id, semconv.SCOPE_TRAINING).decision
    return decision is Decision.RECORD_AND_SAMPLE


def new_span_id() -> int:
    """Draw the id of a span from the operating system."""
    return int.from_bytes(os.urandom(8), "big") or 1


def readable(spans: Iterable[FinishedSpan], trace: Trace, resource: Resource) -> list[ReadableSpan]:
    """Spans as the SDK's processors and encoders take them.

    Args:
        spans: the spans.
        trace: the trace that they belong to.
        resource: resource of the process that they come from.
    """
    return [
        ReadableSpan(
            name=span.name,
            context=trace.context(span.span_id),
            parent=trace.parent if span.parent_id is None else trace.context(span.parent_id),
            resource=resource,
            attributes=dict(span.attributes) | ({semconv.ERROR_TYPE: span.error} if span.error else {}),
            status=Status(StatusCode.ERROR if span.error else StatusCode.UNSET),
            start_time=span.begin_unix_nano,
            end_time=span.end_unix_nano,
            instrumentation_scope=_SCOPE,
        )
        for span in spans
    ]
