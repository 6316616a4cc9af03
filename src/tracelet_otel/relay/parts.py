"""What a request has for each run, read and checked before any of it is taken. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from tracelet_otel.exporters.reading import Batch, decode
from tracelet_otel.relay.otlp import MalformedError, metrics_data


@dataclass(frozen=True)
class Part:
    """What one request has for one run."""

    request: ExportMetricsServiceRequest
    batches: tuple[Batch, ...]
    """The same, translated: one for each process that it comes from."""


def part_of(request: ExportMetricsServiceRequest) -> Part:
    """A request of one run, read.

    Raises:
        MalformedError: it cannot be read.
    """
    return Part(request, batches(request))


def batches(request: ExportMetricsServiceRequest) -> tuple[Batch, ...]:
    """A request of one run, translated.

    Raises:
        MalformedError: it cannot be read.
    """
    try:
        return tuple(decode(metrics_data(request)))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MalformedError(f"not a stream of this package: {error}") from None
