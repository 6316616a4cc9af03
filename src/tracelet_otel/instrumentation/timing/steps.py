"""Steps of a training: how many, how long each took, and what the time went to between two rows. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from tracelet_otel import semconv

_POINTS: Final = 128
"""Rows with times, each time that the number of steps doubles. Trackers draw no more points of a curve."""


class _Totals(NamedTuple):
    """How far the trainings were at a row."""

    step: int = 0
    steps: int = 0
    samples: int = 0
    uncounted: int = 0
    ns: int = 0
    """Time of the steps."""
    spent_ns: Mapping[str, int] = MappingProxyType({})
    """By phase."""


class Steps:
    """Counts the steps of a training and measures them, from the moments at which they end.

    A step is one batch: from the end of the one before, or the epoch's beginning, to its own end. It does not
    include validations and checkpoints in between, nor what is between two epochs.
    """

    def __init__(self) -> None:
        self.count = 0
        self.samples = 0
        """Samples in those batches of which that is known."""
        self.durations_s: list[float] = []
        """Of the steps since somebody has taken the list."""
        self._began_ns: int | None = None
        self._ns = 0
        self.uncounted = 0
        """Batches of which the number of samples is not known."""
        self._last = _Totals()
        self._next_step = 0

    def epoch_begins(self, clock_ns: int) -> None:
        """The first step of an epoch begins.

        Args:
            clock_ns: the time, on a clock that stands still in validations and checkpoints.
        """
        self._began_ns = clock_ns

    def batch_ends(self, clock_ns: int, samples: int | None) -> int | None:
        """A step ends, and the next one begins.

        Args:
            clock_ns: the time, on a clock that stands still in validations and checkpoints.
            samples: how many samples the batch had; None where that is not known.

        Returns:
            How long the step took, in nanoseconds; None where its beginning was not seen.
        """
        self.count += 1
        if samples is None:
            self.uncounted += 1
        else:
            self.samples += samples
        duration_ns = None if self._began_ns is None else clock_ns - self._began_ns
        if duration_ns is not None:
            self.durations_s.append(duration_ns / 1e9)
            self._ns += duration_ns
        self._began_ns = clock_ns
        return duration_ns

    def has_times(self, step: int) -> bool:
        """Whether the row of a step is one that gets times. All ranks choose the same ones, as they log the same."""
        return step >= self._next_step or step < self._last.step

    def times(self, step: int, spent_ns: Mapping[str, int]) -> dict[str, float]:
        """What the time went to since the last row that got times, for a row that is one of them.

        Args:
            step: the trainer's step at which the row is logged.
            spent_ns: nanoseconds in all of the trainings so far, by phase.

        Returns:
            By metric name, seconds a step for each phase, and samples a second; empty where no step has ended since.
        """
        last, now = self._last, _Totals(step, self.count, self.samples, self.uncounted, self._ns, spent_ns)
        steps = now.steps - last.steps
        if not steps:
            return {}
        stride = 1 << max((step // _POINTS).bit_length() - 1, 0)
        self._last, self._next_step = now, (step // stride + 1) * stride
        times = {
            semconv.TIME_PREFIX + phase: (spent_ns.get(phase, 0) - last.spent_ns.get(phase, 0)) / steps / 1e9
            for phase in semconv.PHASES
        }
        if now.ns > last.ns and now.uncounted == last.uncounted:
            times[semconv.TIME_SAMPLES_PER_SECOND] = (now.samples - last.samples) / (now.ns - last.ns) * 1e9
        return times
