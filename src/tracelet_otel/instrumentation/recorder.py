"""Turns rows of metrics into measurements of OpenTelemetry instruments.

The logging thread only appends a `Row` of references to a queue, or a tuple that makes one later. A metric reader's
thread drains the queue at the start of each collection. So conversion, waiting for a device and calls of the SDK take
that thread's time, not the training's. This module knows nothing of Lightning.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from tracelet_otel import semconv
from tracelet_otel._support.guard import UNDELIVERED, Guard
from tracelet_otel.instrumentation.milliseconds import Milliseconds
from tracelet_otel.instrumentation.scalars import as_float, as_floats, as_step
from tracelet_otel.instrumentation.series import AllSeries, Series
from tracelet_otel.instrumentation.table import Table
from tracelet_otel.protocol.samples import Moment, Samples

DRAIN_BUDGET_S: Final = 0.05
"""In seconds: how long one collection drains under an SDK that is not ours, which gives the final one little time."""

_MOST_ROWS: Final = 1_000
"""Rows that one table holds before their columns are made."""
_MOST_TABLES: Final = 256
"""Tables that are kept for later rows of the same names. Where every row has new names, keeping more is of no use."""
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
    """How many processes train together."""
    reductions: Mapping[str, str] = _NO_REDUCTIONS
    """How the values of ranks combine, by metric name; a missing name means the mean."""


Later: TypeAlias = tuple[Any, ...]
"""A row that is made when the queue is drained, so that the logging thread need not do it: a function, and what the row
is made of. The function is called with the whole tuple and returns the `Row`."""


class Recorder:
    """Records rows in one gauge for each metric name, and keeps every value as a sample.

    In a forked child it does nothing: the queue belongs to the process that made it.

    Args:
        meter_provider: where the instruments are created.
        guard: where rows that cannot be converted are reported.
        drain_budget_s: how long one collection may drain, in seconds.
        rank: returns this process's rank, for an attribute of each point; None for no such attribute.
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
        self.rows = 0
        """How many rows were drained from the queue."""
        self.last_unix_nano = 0
        """When the latest of the drained rows was logged, in nanoseconds since the epoch; 0 for none."""
        self._milliseconds = Milliseconds()
        self._series = AllSeries(meter_provider.get_meter(semconv.SCOPE_LOGGED))
        self._waiting: dict[Series, list[Samples]] = {}
        """Samples that have not been handed to the SDK yet."""
        self._tables: dict[tuple[Any, ...], Table] = {}
        self._table: Table | None = None
        """The table that the last row was added to."""
        run_meter = meter_provider.get_meter(semconv.SCOPE_RUN)
        run_meter.create_observable_gauge(
            semconv.QUEUE_SIZE,
            callbacks=[self._collect],
            unit=semconv.QUEUE_SIZE_UNIT,
            description="Rows logged and not yet turned into measurements",
        )
        # Created after the gauge of the queue, so that a collection drains the queue first. Exports may overtake each
        # other on the way: from this number the receiver of the last one knows how many samples are still missing.
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
                    self.rows += 1
                    if time.monotonic() >= deadline:
                        break
            finally:
                self._measure()
        return len(self._queue)

    def _collect(self, _options: CallbackOptions) -> Iterable[Observation]:
        yield Observation(self.drain(self._drain_budget_s))

    def _take(self, logged: Row | Later) -> None:
        """Convert a row's values to numbers, and add them to its table."""
        try:
            row = logged if isinstance(logged, Row) else logged[0](logged)
        except Exception as error:
            self._guard.report("a row was dropped", error)
            return
        try:
            step = as_step(row.step)
        except Exception as error:
            self._guard.report("a row was dropped for its step", error)
            return
        rank = self._rank() if self._rank is not None else None
        names = tuple(row.values)
        numbers = as_floats(row.values.values())
        table = None if numbers is None else self._table_of(row, names, rank)
        if numbers is None or table is None:
            kept = self._one_by_one(row, rank)
            names, numbers = tuple(kept), list(kept.values())
            table = self._table_of(row, names, rank)
        if not names or table is None:
            return
        if table is not self._table:
            self._settle()
            self._table = table
        time_unix_nano = self._milliseconds.apart(row.time_unix_nano, step, names)
        self.last_unix_nano = max(self.last_unix_nano, time_unix_nano)
        moment = Moment(time_unix_nano, step, row.axis, row.epoch, row.training, row.world_size)
        first = self._sequence + 1
        # Raised before the row is added: an interrupt in between leaves a gap in the numbers, never a duplicate.
        self._sequence += len(numbers)
        table.add(moment, first, numbers)
        if len(table) >= _MOST_ROWS:
            self._settle()

    def _one_by_one(self, row: Row, rank: int | None) -> dict[Any, float]:
        """The values of a row that can be recorded, as numbers by name; the others are reported."""
        kept: dict[Any, float] = {}
        for name, value in row.values.items():
            try:
                number = as_float(value)
                self._series.of(name, None, _reduction(row.reductions, name), row.stage, rank)
            except Exception as error:
                self._guard.report(f"a value of metric {name!r} was dropped", error)
            else:
                kept[name] = number
        return kept

    def _table_of(self, row: Row, names: tuple[Any, ...], rank: int | None) -> Table | None:
        """The table of rows with these names, reductions and stage; None where a name cannot be recorded."""
        reductions = tuple(_reduction(row.reductions, name) for name in names) if row.reductions else ()
        stage = row.stage
        key = (stage, rank, names, reductions)
        table = self._tables.get(key)
        if table is None:
            by_name = dict(zip(names, reductions, strict=False))

            # The table keeps this function and outlives the row: the function must not refer to the row and its values.
            def series_of(name: Any, kind: str | None) -> Series:
                return self._series.of(name, kind, _reduction(by_name, name), stage, rank)

            try:
                table = Table(names, series_of)
            except Exception:
                return None
            if len(self._tables) >= _MOST_TABLES:
                self._settle()
                self._tables.clear()
            self._tables[key] = table
        return table

    def _settle(self) -> None:
        """Turn the rows of the current table into samples of each time series."""
        if self._table is None:
            return
        for series, samples in self._table.take():
            self._waiting.setdefault(series, []).append(samples)

    def _measure(self) -> None:
        """Hand the samples to the SDK."""
        self._settle()
        for series in list(self._waiting):
            # Removed first, so that nothing is handed over twice after an interrupt.
            samples = Samples.joined(self._waiting.pop(series))
            try:
                series.measure(samples)
            except Exception as error:
                self._guard.report(f"values of metric {series.name!r} were dropped", error)
                self._guard.count(UNDELIVERED, len(samples))
        self._measured = self._sequence


def _reduction(reductions: Mapping[str, str], name: Any) -> str:
    return reductions.get(name, semconv.REDUCTION_MEAN)
