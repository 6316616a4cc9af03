"""The part of a request that belongs to one run, decoded and checked before any of it is accepted. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from opentelemetry.proto.metrics.v1.metrics_pb2 import ResourceMetrics

from tracelet_otel import semconv
from tracelet_otel.protocol.decode import Batch, Reading, decode
from tracelet_otel.protocol.requests import MalformedError
from tracelet_otel.relay.packing import Share
from tracelet_otel.relay.ranges import IntegerRanges


@dataclass(frozen=True)
class RequestPart:
    """The part of a request that belongs to one run."""

    resources: Sequence[ResourceMetrics]
    """As they came; none is of another run."""
    batches: tuple[Batch, ...]
    """The content of `resources`: one batch for each process, and another for its readings of GPU and host."""


def part_of(resources: Sequence[ResourceMetrics]) -> RequestPart:
    """Decode what processes of one run have sent.

    Raises:
        MalformedError: it cannot be decoded.
    """
    try:
        return RequestPart(resources, tuple(decode(resources)))
    except MalformedError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise MalformedError(f"not a stream of this package: {error}") from None


def without_known(batch: Batch, seen: dict[str, IntegerRanges]) -> Batch:
    """A batch without the readings that have come before; the new ones are added to `seen`.

    Args:
        batch: what a process has sent.
        seen: sequence numbers of the readings that have come, by `stream_of`; changed.
    """
    if not batch.readings:
        return batch
    of_process = seen.setdefault(stream_of(batch), IntegerRanges())
    first, last = batch.readings[0].sequence, batch.readings[-1].sequence
    # They are in order, so these are all numbers from the first to the last, unless one comes twice.
    is_whole = last - first + 1 == len(batch.readings) == len({reading.sequence for reading in batch.readings})
    if is_whole and of_process.add_all(first, last):
        return batch
    return replace(batch, readings=tuple(reading for reading in batch.readings if of_process.add(reading.sequence)))


def alone(batch: Batch) -> list[Reading]:
    """Readings of a batch that are not merged with those of other ranks, in the form in which trackers get them."""
    if batch.rank is None or batch.is_system:
        return list(batch.readings)
    if _is_each(batch):
        return [one if one.world_size <= 1 else _of_rank(one, batch.rank) for one in batch.readings]
    return [one for one in batch.readings if one.world_size <= 1]


def share(batch: Batch) -> Share | None:
    """Readings of a batch that are to be merged with those of other ranks; None where its process is not merged."""
    if batch.rank is None or batch.is_system or _is_each(batch):
        return None
    return Share(stream_of(batch), batch.rank, tuple(one for one in batch.readings if one.world_size > 1))


def joined(shares: Iterable[Share]) -> list[Share]:
    """One share for each process and rank; a request may have several of one, in any order."""
    found: dict[tuple[str, int], list[Reading]] = {}
    for one in shares:
        found.setdefault((one.process, one.rank), []).extend(one.readings)
    return [Share(process, rank, tuple(readings)) for (process, rank), readings in found.items()]


def _is_each(batch: Batch) -> bool:
    """Whether the ranks of the run are kept apart, each with series of its own."""
    return bool(batch.resource.get(semconv.RANKS) == semconv.RANKS_EACH)


def stream_of(batch: Batch) -> str:
    """Key of the sequence numbers of a batch: a process counts its readings of GPU and host apart from the others."""
    return f"{process_of(batch.resource)}|system" if batch.is_system else process_of(batch.resource)


def process_of(resource: Mapping[str, Any]) -> str:
    """Key of a process of a run, made of its resource attributes."""
    # Only some of the SDK's detectors give a forked child another instance id than its parent;
    # the pid tells the two apart in any case.
    keys = (semconv.HOST_NAME, semconv.PROCESS_PID, semconv.SERVICE_INSTANCE_ID)
    key = "|".join(str(resource.get(key, "")) for key in keys)
    # A container that is started again has its host and pid again, and the instance id where somebody has set that.
    attempt = resource.get(semconv.RUN_ATTEMPT, 1)
    return key if attempt == 1 else f"{key}|{attempt}"


def _of_rank(reading: Reading, rank: int) -> Reading:
    """A reading under a name of its rank's own, for runs that keep ranks apart."""
    return reading._replace(name=f"{reading.name}/rank_{rank}")
