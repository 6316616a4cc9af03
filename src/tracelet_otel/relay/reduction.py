"""How the values that ranks logged for one thing become one value. Pure."""

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
    """One value of those that ranks have logged.

    The mean of equal values is that value: computed, the mean of three times 0.1 would not be 0.1. What is not
    finite on any rank shows in the result.

    Args:
        reduction: one of `semconv.REDUCTION_*`; with `none` the first value is taken.
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
        return sum(infinities)  # one of them, or NaN where both are there
    return _rounded(_sum(values) / len(values) if is_mean else _sum(values))


def _sum(values: Sequence[float]) -> float | Fraction:
    """The exact sum, rounded once; a fraction where it, or a part of it, is beyond the largest number."""
    try:
        return math.fsum(values)
    except OverflowError:
        return sum(map(Fraction, values), Fraction())


def _rounded(number: float | Fraction) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf
