"""What a request has for each run, read and checked before any of it is taken. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from tracelet_otel import semconv
from tracelet_otel.protocol.decode import Batch, Reading, decode
from tracelet_otel.protocol.requests import MalformedError, metrics_data
from tracelet_otel.relay.merge import of_rank
from tracelet_otel.relay.packing import Share
from tracelet_otel.relay.ranges import IntegerRanges


@dataclass(frozen=True)
class RequestPart:
    """What one request has for one run."""

    request: ExportMetricsServiceRequest
    batches: tuple[Batch, ...]
    """The same, translated: one for each process that it comes from."""


def part_of(request: ExportMetricsServiceRequest) -> RequestPart:
    """A request of one run, read.

    Raises:
        MalformedError: it cannot be read.
    """
    try:
        return RequestPart(request, tuple(decode(metrics_data(request))))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MalformedError(f"not a stream of this package: {error}") from None


def without_known(batch: Batch, seen: dict[str, IntegerRanges]) -> Batch:
    """A batch without what has been there, which is added to `seen`."""
    of_process = seen.setdefault(stream_of(batch), IntegerRanges())
    return replace(batch, readings=tuple(reading for reading in batch.readings if of_process.add(reading.sequence)))


def alone(batch: Batch) -> list[Reading]:
    """Readings of a batch that are ready for the trackers as they are: no other rank has any of the same thing."""
    if batch.rank is None or batch.is_system:
        return list(batch.readings)
    if _is_each(batch):
        return [one if one.world_size <= 1 else of_rank(one, batch.rank) for one in batch.readings]
    return [one for one in batch.readings if one.world_size <= 1]


def share(batch: Batch) -> Share | None:
    """Readings of a batch that are to be merged with those of other ranks; None where ranks are not merged."""
    if batch.rank is None or batch.is_system or _is_each(batch):
        return None
    return Share(stream_of(batch), batch.rank, tuple(one for one in batch.readings if one.world_size > 1))


def joined(shares: Iterable[Share]) -> list[Share]:
    """One share for each process: a request may have several of one, and those in any order."""
    found: dict[tuple[str, int], list[Reading]] = {}
    for one in shares:
        found.setdefault((one.process, one.rank), []).extend(one.readings)
    return [Share(process, rank, tuple(readings)) for (process, rank), readings in found.items()]


def _is_each(batch: Batch) -> bool:
    """Whether each rank has series of its own."""
    return bool(batch.resource.get(semconv.RANKS) == semconv.RANKS_EACH)


def stream_of(batch: Batch) -> str:
    """Whose sequence numbers a batch has: those of a process, or of what it says of GPU and host."""
    return f"{process_of(batch.resource)}|system" if batch.is_system else process_of(batch.resource)


def process_of(resource: Mapping[str, Any]) -> str:
    """A process of a run, by what its resource says."""
    # The SDK's own detectors give one instance id to a process and another to its forked child,
    # but only some of them: the pid tells the two apart.
    keys = (semconv.HOST_NAME, semconv.PROCESS_PID, semconv.SERVICE_INSTANCE_ID)
    return "|".join(str(resource.get(key, "")) for key in keys)
