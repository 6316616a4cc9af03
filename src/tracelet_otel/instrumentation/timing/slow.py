"""Finds steps that took far longer than most, and makes spans of them. Pure."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tracelet_otel import semconv
from tracelet_otel.instrumentation.timing.phases import TrainingPhase
from tracelet_otel.instrumentation.tracing.builder import NewSpan

_TIMES: Final = 3
"""A step is slow where it takes more than so many times the median."""
_LEAST_NS: Final = 50_000_000
"""And so much more than it: what is faster nobody notices."""
_STEPS: Final = 200
"""The median is that of so many steps before it."""
_FEWEST: Final = 20
"""As long as there are fewer, none is slow."""
_EVERY_NS: Final = 60_000_000_000
"""At most one in a minute is told of."""


@dataclass(frozen=True)
class SlowStep:
    """A step that took far longer than most."""

    number: int
    """Of the step in this process, from 1."""
    end_ns: int
    """When it ended, a time of `perf_counter_ns`."""
    duration_ns: int
    median_ns: int
    """Of the steps before it."""
    phases: Mapping[TrainingPhase, int]
    """Nanoseconds of each; all together are its duration."""


def slow_step_span(step: SlowStep) -> NewSpan:
    """The span of a slow step. Its phases are in it one after the other, each as long as all of it in the step."""
    begin_ns = place_ns = step.end_ns - step.duration_ns
    children = []
    for phase, ns in sorted(step.phases.items(), key=lambda item: semconv.PHASES.index(item[0].name)):
        children.append(NewSpan(phase.name, place_ns, place_ns + ns, phase.attributes))
        place_ns += ns
    attributes = {semconv.STEP_NUMBER: step.number, semconv.STEP_MEDIAN: step.median_ns / 1e9}
    return NewSpan(semconv.SPAN_STEP, begin_ns, step.end_ns, attributes, children)


class Durations:
    """The durations of the last steps, and which step is slow among them."""

    def __init__(self) -> None:
        self._last: deque[int] = deque(maxlen=_STEPS)
        self._sorted: list[int] = []
        self._told_ns = -_EVERY_NS

    def add(self, duration_ns: int, end_ns: int) -> int | None:
        """Add a step.

        Args:
            duration_ns: how long it took.
            end_ns: when it ended, on any clock.

        Returns:
            The median of the steps before it, where the step is slow and is to be told of; None otherwise.
        """
        median_ns = self._sorted[len(self._sorted) // 2] if len(self._sorted) >= _FEWEST else None
        if len(self._last) == _STEPS:
            del self._sorted[bisect_left(self._sorted, self._last[0])]
        self._last.append(duration_ns)
        insort(self._sorted, duration_ns)
        if median_ns is None or duration_ns <= max(_TIMES * median_ns, median_ns + _LEAST_NS):
            return None
        if end_ns - self._told_ns < _EVERY_NS:
            return None
        self._told_ns = end_ns
        return median_ns
