"""Writes the spans of a run to MLflow, where they are a trace of the run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1 import trace_pb2

from tracelet_otel import semconv
from tracelet_otel.errors import RefusedError
from tracelet_otel.exporters.mlflow.address import database_lock
from tracelet_otel.exporters.mlflow.beside import BesideTracker
from tracelet_otel.exporters.mlflow.errors import translated

if TYPE_CHECKING:
    from mlflow.entities import Run

_ON_EACH_SPAN: Final = (semconv.RANK,)
"""Attributes of the resource, which MLflow does not show, that each of its spans gets."""


class MlflowTraces(BesideTracker):
    """A `TraceWriter` of one run in MLflow."""

    def _begin(self, run: Run) -> None:
        from mlflow.tracing.client import TracingClient

        self._store: Any = TracingClient(self._uri)
        self._experiment_id, self._run_id = run.info.experiment_id, run.info.run_id
        self._linked: set[str] = set()

    def write(self, spans: ExportTraceServiceRequest) -> None:
        """Store spans in the run's experiment, and link their trace to the run."""
        from mlflow.entities.span import Span

        with translated(self._what, self._uri), database_lock(self._uri):
            made = [Span.from_otel_proto(span) for span in _with_resource(spans)]
            try:
                self._store.log_spans(self._experiment_id, made)
            except NotImplementedError as error:
                raise RefusedError(f"{self._what}: {error}") from None
            unlinked: Any = {span.trace_id for span in made} - self._linked
            if unlinked:
                self._client.link_traces_to_run(sorted(unlinked), self._run_id)
                self._linked |= unlinked


def _with_resource(request: ExportTraceServiceRequest) -> Iterator[trace_pb2.Span]:
    for resource in request.resource_spans:
        kept = [one for one in resource.resource.attributes if one.key in _ON_EACH_SPAN]
        for scope in resource.scope_spans:
            for span in scope.spans:
                span.attributes.extend(kept)
                yield span
