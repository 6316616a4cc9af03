"""Rows of metrics on their way into OpenTelemetry instruments.

The thread that logs only appends a `Row` of references to a queue, or what makes one later. A metric
reader's thread drains the queue at the start of each of its collections, and pays there for
conversion, for waiting on a device and for the SDK. Knows nothing of Lightning.
"""

from __future__ import annotations

import math
import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, _Gauge

from tracelet_otel import semconv
from tracelet_otel.guard import UNDELIVERED, Guard
from tracelet_otel.samples import Moment, Sample, samples_context
from tracelet_otel.text import encodable

DRAIN_BUDGET_S: Final = 0.05
"""How long one collection drains under an SDK that is not ours: it gives a final one little time."""

_STEPS: Final = 2**63
_NO_REDUCTIONS: Final[Mapping[str, str]] = MappingProxyType({})


class Row(NamedTuple):
    """Metrics that were logged together. Values and step may still be tensors."""

    time_unix_nano: int
    """Time of logging, in nanoseconds since the epoch."""
    values: Mapping[str, Any]
    """Scalars or one-element tensors by name as logged; must not change after it is recorded."""
    step: Any
    """Position on `axis`: an integer, or a one-element tensor."""
    axis: str
    """One of `semconv.AXIS_*`."""
    stage: str
    """`fit`, `validate`, `test`, or empty where the row comes from outside a loop."""
    epoch: int | None = None
    training: int | None = None
    """Number of the training in this process, where several processes train together."""
    world_size: int | None = None
    """How many they are."""
    reductions: Mapping[str, str] = _NO_REDUCTIONS
    """How the values of ranks combine, by name; a name that is not there: mean."""


Later: TypeAlias = tuple[Any, ...]
"""Makes a row when the queue is drained, which the logging thread need not do: a function, and what the row is made of.
The function gets the whole tuple."""


class Recorder:
    """Turns rows into one gauge for each metric name, every value kept as a sample.

    A forked child gets a recorder that does nothing: the queue belongs to the process that made it.

    Args:
        meter_provider: where the instruments are created.
        guard: where rows that cannot be converted are reported.
        drain_budget_s: how long one collection may drain.
        rank: of this process, for an attribute of each point.
    """

    def __init__(
        self,
        meter_provider: MeterProvider,
        guard: Guard,
        drain_budget_s: float = DRAIN_BUDGET_S,
        rank: Callable[[], int | None] | None = None,
    ) -> None:
        self._rank = rank
        self._drain_budget_s = drain_budget_s
        self._guard = guard
        self._pid = os.getpid()
        self._queue: deque[Row | Later] = deque()
        self._drain_lock = threading.Lock()
        self._sequence = 0
        self._measured = 0
        self._series: dict[tuple[str, int | None], dict[tuple[Any, str | None, str], _Series]] = {}
        self._touched: list[_Series] = []
        self._gauges: dict[str, _Gauge] = {}
        self._newest_ms = -1
        self._last: dict[str, tuple[int, Mapping[int, int]]] = {}
        self._meter = meter_provider.get_meter(semconv.SCOPE_LOGGED)
        self._nonfinite = self._meter.create_counter(
            semconv.METRIC_NONFINITE,
            unit=semconv.METRIC_NONFINITE_UNIT,
            description="Logged values that are NaN or infinite",
        )
        run_meter = meter_provider.get_meter(semconv.SCOPE_RUN)
        run_meter.create_observable_gauge(
            semconv.QUEUE_SIZE,
            callbacks=[self._collect],
            unit=semconv.QUEUE_SIZE_UNIT,
            description="Rows logged and not yet turned into measurements",
        )
        # Asked after the queue: on their way exports may overtake each other, and who reads the last one knows by this
        # what is missing.
        run_meter.create_observable_gauge(
            semconv.SAMPLES,
            callbacks=[lambda _: [Observation(self._measured)]],
            unit=semconv.SAMPLES_UNIT,
            description="Values that have been turned into measurements so far",
        )
        # Appending is all that the logging thread does: no lock, no conversion, no system call.
        self.record: Callable[[Row | Later], None] = self._queue.append

    @property
    def queued(self) -> int:
        """Rows that have not been turned into measurements yet."""
        return len(self._queue)

    def drain(self, budget_s: float = math.inf, max_rows: int | None = None) -> int:
        """Turn queued rows into measurements.

        Args:
            budget_s: stop after this many seconds, at the end of a row.
            max_rows: stop after this many rows.

        Returns:
            How many rows are still queued.
        """
        if os.getpid() != self._pid:
            return 0
        deadline = time.monotonic() + budget_s
        with self._drain_lock:
            try:
                for _ in range(len(self._queue) if max_rows is None else max_rows):
                    try:
                        logged = self._queue.popleft()
                    except IndexError:
                        break
                    self._take(logged)
                    if time.monotonic() >= deadline:
                        break
            finally:
                self._measure()
        return len(self._queue)

    def _collect(self, _options: CallbackOptions) -> Iterable[Observation]:
        yield Observation(self.drain(self._drain_budget_s))

    def _take(self, logged: Row | Later) -> None:
        """Make samples of a row."""
        try:
            row = logged if isinstance(logged, Row) else logged[0](logged)
        except Exception as error:
            self._guard.report("a row was dropped", error)
            return
        try:
            step = _as_step(row.step)
        except Exception as error:
            self._guard.report("a row was dropped for its step", error)
            return
        moment = Moment(self._told_apart(row, step), step, row.axis, row.epoch, row.training, row.world_size)
        rank = self._rank() if self._rank is not None else None
        known = self._series.setdefault((row.stage, rank), {})
        reductions = row.reductions
        for name, value in row.values.items():
            try:
                number = _as_float(value)
                kind = None if math.isfinite(number) else _nonfinite_kind(number)
                key = name, kind, reductions.get(name, semconv.REDUCTION_MEAN)
                series = known.get(key)
                if series is None:
                    series = known[key] = self._make_series(*key, row.stage, rank)
            except Exception as error:
                self._guard.report(f"a value of metric {name!r} was dropped", error)
                continue
            self._sequence += 1
            if not series.samples:
                self._touched.append(series)
            series.samples.append((moment, self._sequence, number if kind is None else 1))

    def _measure(self) -> None:
        """Hand the samples to the SDK: a measurement of each time series, since each has its price there."""
        for series in self._touched:
            samples, series.samples = series.samples, []
            try:
                series.measure(samples[-1][2] if series.is_gauge else len(samples), samples)
            except Exception as error:
                self._guard.report(f"values of metric {series.name!r} were dropped", error)
                self._guard.count(UNDELIVERED, len(samples))
        self._touched.clear()
        self._measured = self._sequence

    def _told_apart(self, row: Row, step: int) -> int:
        """A time that differs in its millisecond from those of the row's names at this step before it.

        Lightning logs the epoch twice at one step, within microseconds. Trackers keep
        milliseconds, and MLflow takes two points for one where all else is equal. The whole row
        moves, so that its samples still have one time.
        """
        time_ms = row.time_unix_nano // 1_000_000
        if time_ms > self._newest_ms:
            self._newest_ms = time_ms
            # One for all of its names, and so never changed: nearly every row has a millisecond of its own.
            self._last.update(dict.fromkeys(row.values, (time_ms, MappingProxyType({step: time_ms}))))
            return row.time_unix_nano
        for name in row.values:
            newest_ms, last_ms_by_step = self._last.get(name, (-1, {}))
            if time_ms <= newest_ms:
                time_ms = max(time_ms, last_ms_by_step.get(step, -1) + 1)
        for name in row.values:
            newest_ms, last_ms_by_step = self._last.get(name, (-1, {}))
            if time_ms > newest_ms:
                own: dict[int, int] = {}
            else:
                own = last_ms_by_step if isinstance(last_ms_by_step, dict) else dict(last_ms_by_step)
            own[step] = time_ms
            self._last[name] = (max(time_ms, newest_ms), own)
        self._newest_ms = max(self._newest_ms, time_ms)
        return row.time_unix_nano if time_ms == row.time_unix_nano // 1_000_000 else time_ms * 1_000_000

    def _make_series(self, name: Any, kind: str | None, reduction: str, stage: str, rank: int | None) -> _Series:
        exact_name = encodable(str(name))
        attributes: dict[str, str | int] = {semconv.METRIC_NAME: exact_name, semconv.REDUCTION: reduction}
        if rank is not None:
            attributes[semconv.RANK] = rank
        if stage:
            attributes[semconv.STAGE] = stage
        if kind is not None:
            attributes[semconv.NONFINITE_KIND] = kind
        measure = self._gauge(exact_name).set if kind is None else self._nonfinite.add
        return _Series(
            exact_name, lambda value, samples: measure(value, attributes, samples_context(samples)), kind is None
        )

    def _gauge(self, name: str) -> _Gauge:
        gauge = self._gauges.get(name)
        if gauge is None:
            gauge = self._gauges[name] = self._meter.create_gauge(instrument_name(name))
        return gauge


@dataclass(slots=True)
class _Series:
    """A time series, and its samples that the SDK does not have yet."""

    name: str
    measure: Callable[[float, Sequence[Sample]], None]
    is_gauge: bool
    samples: list[Sample] = field(default_factory=list)


def _as_float(value: Any) -> float:
    number = value if type(value) is float else _scalar(value)
    # Nearly all are by now.
    if type(number) is float:
        return number
    if isinstance(number, (str, bytes)):
        raise TypeError(f"{value!r} is text, not a number")
    return float(number)


def _as_step(value: Any) -> int:
    step = int(_scalar(value))
    if not -_STEPS <= step < _STEPS:
        raise OverflowError(f"{step} is no 64-bit number")
    return step


def _scalar(value: Any) -> Any:
    # `float` would warn of a tensor that requires a gradient. `item` lets go of the interpreter's lock for each value,
    # and takes it from the training again; `tolist` does so only where it waits for a device.
    to_number = getattr(value, "tolist" if getattr(value, "ndim", None) == 0 else "item", None)
    return to_number() if callable(to_number) else value


def _nonfinite_kind(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "+Inf" if value > 0 else "-Inf"


def snapshot(value: Any) -> Any:
    """A value that stays as it is: a user may change a tensor or array in place before it is converted."""
    if hasattr(value, "detach"):
        return value.detach().clone()
    return value.copy() if hasattr(value, "__array__") and hasattr(value, "copy") else value


def instrument_name(name: str) -> str:
    """A valid OpenTelemetry instrument name for a metric's name as logged.

    Different names may become one: the exact name travels as the attribute `tracelet.metric.name`.
    Source: OpenTelemetry metrics API, "Instrument name syntax" (a letter, then up to 254 letters,
    digits, `_`, `.`, `-` or `/`).
    """
    valid = re.sub(r"[^A-Za-z0-9_./-]", "_", name)
    if not re.match(r"[A-Za-z]", valid):
        valid = f"m_{valid}"
    return valid[:255]
