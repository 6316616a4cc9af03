"""Time series of logged metrics, and their instruments, each made once."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from opentelemetry.metrics import Meter, _Gauge

from tracelet_otel import semconv
from tracelet_otel._support.text import encodable
from tracelet_otel.protocol.samples import Samples, samples_context


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One time series."""

    name: str
    """Name of the metric, exactly as logged."""
    measure: Callable[[Samples], None]
    """Hands samples to the SDK, all in one measurement, because each measurement costs time there."""


class AllSeries:
    """Makes each time series once: of a gauge, or of a counter for NaN and infinities, which a gauge drops.

    Args:
        meter: where the instruments are created.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._gauges: dict[str, _Gauge] = {}
        self._made: dict[tuple[Any, ...], Series] = {}
        self._nonfinite = meter.create_counter(
            semconv.METRIC_NONFINITE,
            unit=semconv.METRIC_NONFINITE_UNIT,
            description="Logged values that are NaN or infinite",
        )

    def of(self, name: Any, kind: str | None, reduction: str, stage: str, rank: int | None) -> Series:
        """The time series of a metric, made on first use.

        Args:
            name: name of the metric, as logged.
            kind: what `nonfinite_kind` returns for its values; None for finite ones.
            reduction: how the values of ranks combine: one of `semconv.REDUCTION_*`.
            stage: `fit`, `validate`, `test`, or empty.
            rank: rank of this process; None for no such attribute.
        """
        key = name, kind, reduction, stage, rank
        series = self._made.get(key)
        if series is None:
            series = self._made[key] = self._make(*key)
        return series

    def _make(self, name: Any, kind: str | None, reduction: str, stage: str, rank: int | None) -> Series:
        exact_name = encodable(str(name))
        attributes: dict[str, str | int] = {semconv.METRIC_NAME: exact_name, semconv.REDUCTION: reduction}
        if rank is not None:
            attributes[semconv.RANK] = rank
        if stage:
            attributes[semconv.STAGE] = stage
        if kind is not None:
            attributes[semconv.NONFINITE_KIND] = kind
            add = self._nonfinite.add
            return Series(exact_name, lambda samples: add(len(samples), attributes, samples_context(samples)))
        set_to = self._gauge(exact_name).set
        return Series(exact_name, lambda samples: set_to(samples.values[-1], attributes, samples_context(samples)))

    def _gauge(self, name: str) -> _Gauge:
        gauge = self._gauges.get(name)
        if gauge is None:
            gauge = self._gauges[name] = self._meter.create_gauge(instrument_name(name))
        return gauge


def nonfinite_kind(value: float) -> str | None:
    """`NaN`, `+Inf` or `-Inf` for a value that a gauge would drop; None for a finite one."""
    if math.isfinite(value):
        return None
    if math.isnan(value):
        return "NaN"
    return "+Inf" if value > 0 else "-Inf"


def instrument_name(name: str) -> str:
    """A valid OpenTelemetry instrument name for a metric's name as logged.

    Different names may become the same one, so the exact name is exported as the attribute `tracelet.metric.name`.
    Source: OpenTelemetry metrics API, "Instrument name syntax" (a letter, then up to 254 letters,
    digits, `_`, `.`, `-` or `/`).
    """
    valid = re.sub(r"[^A-Za-z0-9_./-]", "_", name)
    if not re.match(r"[A-Za-z]", valid):
        valid = f"m_{valid}"
    return valid[:255]
