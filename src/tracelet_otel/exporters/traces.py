"""The interface of a tracker that also takes the spans of a run."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tracelet_otel.protocol.run_identity import RunIdentity


class TraceWriter(Protocol):
    """Writes spans of one run to a tracker. All calls come from one thread, and each may block.

    Errors mean what they mean for a `Tracker`: what is unavailable is tried again, everything else is final.
    """

    def open(self, run: RunIdentity) -> None:
        """Find the run, which the tracker has created or will create.

        Raises:
            TrackerUnavailableError: there is no such run yet.
        """
        ...

    def write(self, spans: ExportTraceServiceRequest) -> None:
        """Store spans. Storing the same ones again changes nothing."""
        ...


@runtime_checkable
class TakesTraces(Protocol):
    """A `Tracker` that takes spans. Its `TrackerSpec` has to say so as well (`takes_traces`)."""

    def trace_writer(self) -> TraceWriter:
        """Make what writes them. It is used by another thread than the tracker."""
        ...
