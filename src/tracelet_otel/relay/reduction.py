"""How the values that ranks logged for one thing become one value. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tracelet_otel import semconv


def reduced(reduction: str, values: Sequence[float]) -> float:
    """One value of those that ranks have logged.

    Equal values are passed on as they are: the mean of three times 0.1 would not be 0.1. What is not
    finite on any rank shows in the result.

    Args:
        reduction: one of `semconv.REDUCTION_*`; with `none` the first value is taken.
        values: at least one, in the order of their ranks.
    """
    first = values[0]
    if reduction == semconv.REDUCTION_NONE or all(value == first for value in values):
        return first
    if any(math.isnan(value) for value in values):
        return math.nan
    if reduction == semconv.REDUCTION_MIN:
        return min(values)
    if reduction == semconv.REDUCTION_MAX:
        return max(values)
    if not all(math.isfinite(value) for value in values):
        return sum(values)  # an infinity, or NaN where both are there
    return _sum(values) if reduction == semconv.REDUCTION_SUM else _mean(values)


def _sum(values: Sequence[float]) -> float:
    try:
        return math.fsum(values)
    except OverflowError:
        return sum(values)


def _mean(values: Sequence[float]) -> float:
    # Divided first where the sum would be beyond the largest number.
    total = _sum(values)
    return total / len(values) if math.isfinite(total) else math.fsum(value / len(values) for value in values)
