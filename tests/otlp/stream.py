"""What a training logs, exported at an interval, and what of it has to arrive."""

from __future__ import annotations

import math
import time

from tests.support.sdk import provider, reader
from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.exporters.otlp.exporter import OtlpExporter
from tracelet_otel.instrumentation.recorder import Row
from tracelet_otel.instrumentation.signals import make_signals


class Stream:
    """Rows of a training under the real SDK.

    Args:
        exporter: that gets them.
        interval_ms: between two collections; by default only `collect` collects.
    """

    def __init__(self, exporter: OtlpExporter, interval_ms: float = 3_600_000) -> None:
        self.exporter = exporter
        self.logged: list[tuple[str, int, float, int]] = []
        self._reader = reader(exporter, interval_ms)
        self._provider = provider(self._reader, **{semconv.RUN_ID: "r1"})
        self._signals = make_signals(self._provider, Guard(), math.inf)
        self._time_ns = time.time_ns()
        self._step = 0

    def log(self, rows: int = 1) -> None:
        for _ in range(rows):
            self._step += 1
            self._time_ns += 1_000_000
            values = {"loss": 1 / self._step, "acc/val": self._step * 0.3}
            self._signals.recorder.record(
                Row(self._time_ns, values, self._step, semconv.AXIS_TRAINER, "fit", self._step // 10)
            )
            self.logged += [(name, self._step, value, self._time_ns) for name, value in values.items()]

    def collect(self) -> None:
        self._reader.collect()

    def end(self, timeout_s: float = 30) -> None:
        """As a run ends: all rows are collected, then the reader is shut down."""
        while self._signals.recorder.drain(max_rows=1000):
            self.collect()
        self.collect()
        self._reader.shutdown(timeout_millis=timeout_s * 1e3)

    @property
    def expected(self) -> list[tuple[str, int, float, int, int]]:
        """As `Kept.samples` has it where each sample came once."""
        return [(*sample, number) for number, sample in enumerate(self.logged, 1)]
