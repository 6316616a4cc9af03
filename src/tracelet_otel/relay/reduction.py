"""Reduces the values that ranks have logged for one thing to one value. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Final

from tracelet_otel import semconv

_CHOICE: Final[Mapping[str, Callable[[Sequence[float]], float]]] = {
    semconv.REDUCTION_MIN: min,
    semconv.REDUCTION_MAX: max,
}


def reduced(reduction: str, values: Sequence[float]) -> float:
    """Reduce the values of ranks to one.

    The mean of equal values is that value: computed, the mean of three times 0.1 would not be 0.1. NaN on any rank
    gives NaN. In a mean or sum, infinity on any rank gives infinity, or NaN where both signs are there.

    Args:
        reduction: one of `semconv.REDUCTION_*`; with `none` the first value is taken, whatever the others are.
        values: at least one, in the order of their ranks.
    """
    first = values[0]
    is_mean = reduction == semconv.REDUCTION_MEAN
    if reduction == semconv.REDUCTION_NONE or (is_mean and all(value == first for value in values)):
        return first
    if any(math.isnan(value) for value in values):
        return math.nan
    if reduction in _CHOICE:
        return _CHOICE[reduction](values)
    if infinities := [value for value in values if math.isinf(value)]:
        return sum(infinities)  # NaN where both signs are there
    return _rounded(_sum(values) / len(values) if is_mean else _sum(values))


def _sum(values: Sequence[float]) -> float | Fraction:
    """The exact sum, rounded once; an exact fraction where it, or a partial sum, is beyond the largest float."""
    try:
        return math.fsum(values)
    except OverflowError:
        return sum(map(Fraction, values), Fraction())


def _rounded(number: float | Fraction) -> float:
    """The nearest float; infinity where the number is beyond the largest one."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf
