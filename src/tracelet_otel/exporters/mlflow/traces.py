"""Writes the spans of a run to MLflow, where they are a trace of the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1 import trace_pb2

from tracelet_otel import semconv
from tracelet_otel._support.redact import without_credentials
from tracelet_otel.errors import RefusedError, TrackerUnavailableError
from tracelet_otel.exporters.mlflow.address import check_usable, database_lock, process_lock
from tracelet_otel.exporters.mlflow.errors import translated
from tracelet_otel.protocol.run_identity import RunIdentity

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_ON_EACH_SPAN: Final = (semconv.RANK,)
"""Attributes of the resource, which MLflow does not show, that each of its spans gets."""


class MlflowTraces:
    """A `TraceWriter` of one run in MLflow.

    Args:
        connect: returns a client of the store.
        uri: address of the store.
        find: returns the run; None where there is none yet.
    """

    def __init__(
        self, connect: Callable[[], MlflowClient], uri: str, find: Callable[[MlflowClient, RunIdentity], Run | None]
    ) -> None:
        self._connect = connect
        self._uri = uri
        self._what = f"traces in MLflow at {without_credentials(uri)}"
        self._find = find
        self._linked: set[str] = set()

    def open(self, run: RunIdentity) -> None:
        """Find the run and its experiment."""
        from mlflow.tracing.client import TracingClient

        with translated(self._what, self._uri), database_lock(self._uri), process_lock(self._uri):
            check_usable(self._uri)
            self._client = self._connect()
            found = self._find(self._client, run)
            if found is None:
                raise TrackerUnavailableError(f"{self._what}: the run is not there yet")
            self._store: Any = TracingClient(self._uri)
        self._experiment_id, self._run_id = found.info.experiment_id, found.info.run_id

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
