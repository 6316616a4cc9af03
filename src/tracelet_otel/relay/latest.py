"""The newest value of each metric that a relay has passed on to trackers, with the lowest and the highest."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from tracelet_otel.protocol.decode import Reading
from tracelet_otel.protocol.main_metrics import MetricRange

_MOST: Final = 200
"""Metrics of which the ranges are told."""


class LatestValues:
    """The newest value of each metric, and between which values it was.

    Args:
        is_whole: whether this relay has all values of the run, and not only those since it was started again.
    """

    def __init__(self, *, is_whole: bool) -> None:
        self.newest: dict[str, Reading] = {}
        """By name, the newest reading."""
        self._is_whole = is_whole
        self._ranges: dict[str, tuple[float, float]] = {}

    def take(self, readings: Iterable[Reading]) -> None:
        """Take note of readings, in the order in which trackers get them."""
        for one in readings:
            self.newest[one.name] = one
            if not one.is_system and math.isfinite(one.value):
                lowest, highest = self._ranges.get(one.name, (one.value, one.value))
                self._ranges[one.name] = (min(lowest, one.value), max(highest, one.value))

    def ranges(self) -> list[MetricRange]:
        """The values of the metrics that a training has logged."""
        logged = [one for one in list(self.newest.values()) if not one.is_system][:_MOST]
        return [MetricRange(one.name, one.value, *self._range(one.name)) for one in logged]

    def _range(self, name: str) -> tuple[float, float] | tuple[None, None]:
        return self._ranges.get(name, (None, None)) if self._is_whole else (None, None)
