"""Exports that wait for an OTLP endpoint."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from opentelemetry.sdk.metrics.export import MetricsData

from tracelet_otel.protocol.metrics_data import instruments, sample_count, weight


@dataclass(frozen=True, slots=True)
class Waiting:
    """An export, and what has to be known of it."""

    data: MetricsData
    samples: int
    weight: int
    instruments: frozenset[tuple[str, str]]

    @classmethod
    def of(cls, data: MetricsData) -> Waiting:
        """An export that has not been sent yet."""
        return cls(data, sample_count(data), weight(data), instruments(data))


class Backlog:
    """Exports in the order in which they came, bounded; not for several threads at once.

    Args:
        heaviest: weight of all that wait; beyond it the oldest are dropped.
    """

    def __init__(self, heaviest: int) -> None:
        self._heaviest = heaviest
        self._waiting: deque[Waiting] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def samples(self) -> int:
        """How many samples wait."""
        return sum(one.samples for one in self._waiting)

    @property
    def is_half_full(self) -> bool:
        """Whether there is less room left than is taken."""
        return sum(one.weight for one in self._waiting) > self._heaviest / 2

    def put(self, export: Waiting, *, begins: bool = True) -> int:
        """Add an export.

        Args:
            export: to be sent behind all others.
            begins: whether it is a collection, or the first part of one; the other parts belong to that.

        Returns:
            How many samples had to be dropped for it.
        """
        # All is cumulative: an export without samples says nothing that a later one of its instruments does not say.
        if begins and not all(one.samples for one in self._waiting):
            kept = (one for one in self._waiting if one.samples or not one.instruments <= export.instruments)
            self._waiting = deque(kept)
        self._waiting.append(export)
        excess = sum(one.weight for one in self._waiting) - self._heaviest
        dropped = 0
        while excess > 0 and len(self._waiting) > 1:
            oldest = self._waiting.popleft()
            excess -= oldest.weight
            dropped += oldest.samples
        return dropped

    def take(self) -> Waiting | None:
        """The oldest export; None where none waits."""
        return self._waiting.popleft() if self._waiting else None
