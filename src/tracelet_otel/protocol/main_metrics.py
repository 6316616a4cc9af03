"""Which metrics of a run people look at first, and between which values they were. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from tracelet_otel import semconv

_EPOCH: Final = "epoch"
"""A metric that Lightning logs in each row."""
_EVALUATED: Final = ("val", "test")
"""Metrics with one of these in their name come first: they are what a training is judged by."""


class MetricRange(NamedTuple):
    """The values of one metric."""

    name: str
    last: float
    lowest: float | None = None
    """The lowest finite value; None where not all values are known, or none is finite."""
    highest: float | None = None


def is_of_training(name: str) -> bool:
    """Whether a metric says how a training went, and not where it was or what it cost."""
    return name != _EPOCH and not name.startswith((semconv.SYSTEM_PREFIX, semconv.TIME_PREFIX))


def main_metrics(names: Iterable[str]) -> list[str]:
    """Names of the metrics that say how a training went, the most telling first.

    Lightning logs some metrics under two names; of these, the one of single steps (`loss_step`) is left out.
    """
    all_names = set(names)
    found = [
        name
        for name in all_names
        if is_of_training(name) and not (name.endswith("_step") and f"{name.removesuffix('_step')}_epoch" in all_names)
    ]
    return sorted(found, key=lambda name: (not any(word in name.lower() for word in _EVALUATED), name))
