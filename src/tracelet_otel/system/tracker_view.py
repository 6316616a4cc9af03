"""Converts OpenTelemetry metrics of GPU and host to the names and units that trackers show. No I/O.

Names are those of MLflow's system metrics where MLflow has one; source: `mlflow.system_metrics`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    Gauge,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from tracelet_otel import semconv

_GPU: Final[Mapping[tuple[str, str], tuple[str, float]]] = {
    (semconv.GPU_UTILIZATION, semconv.TASK_GENERAL): ("utilization_percentage", 100),
    (semconv.GPU_UTILIZATION, semconv.TASK_ENCODER): ("encoder_utilization_percentage", 100),
    (semconv.GPU_UTILIZATION, semconv.TASK_DECODER): ("decoder_utilization_percentage", 100),
    (semconv.GPU_MEMORY_USAGE, ""): ("memory_usage_megabytes", 1e-6),
    (semconv.GPU_MEMORY_UTILIZATION, ""): ("memory_usage_percentage", 100),
    (semconv.GPU_PROCESS_MEMORY_USAGE, ""): ("process_memory_usage_megabytes", 1e-6),
    (semconv.HW_POWER, ""): ("power_usage_watts", 1),
    (semconv.HW_ENERGY, ""): ("energy_joules", 1),
    (semconv.HW_TEMPERATURE, ""): ("temperature_celsius", 1),
    (semconv.HW_FAN_SPEED_RATIO, ""): ("fan_speed_percentage", 100),
    (semconv.HW_ERRORS, semconv.ERRORS_CORRECTED): ("errors_corrected", 1),
    (semconv.HW_ERRORS, semconv.ERRORS_UNCORRECTED): ("errors_uncorrected", 1),
    (semconv.GPU_CLOCK_FREQUENCY, semconv.CLOCK_SM): ("sm_clock_megahertz", 1e-6),
    (semconv.GPU_CLOCK_FREQUENCY, semconv.CLOCK_MEMORY): ("memory_clock_megahertz", 1e-6),
    (semconv.GPU_PCIE_THROUGHPUT, semconv.DIRECTION_RECEIVE): ("pcie_receive_megabytes_per_second", 1e-6),
    (semconv.GPU_PCIE_THROUGHPUT, semconv.DIRECTION_TRANSMIT): ("pcie_transmit_megabytes_per_second", 1e-6),
}
"""Name in trackers and factor of the value, by metric and by the attribute value (see `_KINDS`) of the point."""

_HOST: Final[Mapping[tuple[str, str], tuple[str, float]]] = {
    ("system.memory.usage", "used"): ("system_memory_usage_megabytes", 1e-6),
    ("system.memory.utilization", "used"): ("system_memory_usage_percentage", 100),
    (semconv.FILESYSTEM_UTILIZATION, semconv.FILESYSTEM_USED): ("disk_usage_percentage", 100),
    (semconv.FILESYSTEM_USAGE, semconv.FILESYSTEM_USED): ("disk_usage_megabytes", 1e-6),
    (semconv.FILESYSTEM_USAGE, semconv.FILESYSTEM_FREE): ("disk_available_megabytes", 1e-6),
    ("process.memory.usage", ""): ("process_memory_usage_megabytes", 1e-6),
    ("process.thread.count", ""): ("process_threads", 1),
}
_SINCE_START: Final[Mapping[tuple[str, str], str]] = {
    ("system.network.io", "receive"): "network_receive_megabytes",
    ("system.network.io", "transmit"): "network_transmit_megabytes",
    ("system.disk.io", "read"): "disk_read_megabytes",
    ("system.disk.io", "write"): "disk_write_megabytes",
}
"""Names of counters. A host counts since its boot; trackers show the sum of all devices since the run's start."""
_KINDS: Final = (
    semconv.HW_GPU_TASK,
    semconv.ERROR_TYPE,
    semconv.GPU_CLOCK,
    semconv.NETWORK_IO_DIRECTION,
    semconv.FILESYSTEM_STATE,
    "state",
    "direction",
    "type",
)
"""Attributes that distinguish points of a metric: ours and those of `opentelemetry-instrumentation-system-metrics`."""
_NOT_BUSY: Final = ("idle", "iowait")
_LOOPBACK: Final = ("lo", "lo0")
_STACKED: Final = re.compile(r"(dm-|md|loop|zram)\d+")
"""Block devices that lie on top of others, whose I/O would be counted twice."""
_DEVICE: Final = "device"

_Key = tuple[str, tuple[tuple[str, Any], ...]]


class SystemReadings:
    """Converts metrics of GPU and host for trackers. Keeps the previous values of counters, to compute their growth."""

    def __init__(self) -> None:
        self._previous: dict[_Key, float] = {}
        self._grown: defaultdict[_Key, float] = defaultdict(float)
        self._sequence = 0

    def of(self, data: MetricsData, step: int) -> MetricsData:
        """Convert the metrics of one collection to samples of one metric.

        Args:
            data: metrics of GPU and host only, from one process.
            step: current step of the training.
        """
        return MetricsData([self._converted(source, step) for source in data.resource_metrics])

    def _converted(self, source: ResourceMetrics, step: int) -> ResourceMetrics:
        points = list(_points(source))
        time_unix_nano = max((point.time_unix_nano for _, point in points), default=0)
        values = dict(self._values(points))
        metric = Metric(
            semconv.SYSTEM_READING, "", "", Gauge([self._point(*item, step, time_unix_nano) for item in values.items()])
        )
        scope = InstrumentationScope(semconv.SCOPE_SYSTEM)
        return ResourceMetrics(source.resource, [ScopeMetrics(scope, [metric], "")], source.schema_url)

    def _point(self, name: str, value: float, step: int, time_unix_nano: int) -> NumberDataPoint:
        self._sequence += 1
        sample: dict[str, Any] = {
            semconv.STEP: step,
            semconv.AXIS: semconv.AXIS_TRAINER,
            semconv.SEQUENCE: self._sequence,
        }
        exemplar = Exemplar(sample, value, time_unix_nano)
        return NumberDataPoint({semconv.METRIC_NAME: name}, time_unix_nano, time_unix_nano, value, [exemplar])

    def _values(self, points: list[tuple[str, NumberDataPoint]]) -> Iterator[tuple[str, float]]:
        for metric, point in points:
            attributes: Mapping[str, Any] = point.attributes or {}
            kind = _kind(attributes)
            if (metric, kind) in _GPU and semconv.GPU_INDEX in attributes:
                name, factor = _GPU[metric, kind]
                yield f"gpu_{attributes[semconv.GPU_INDEX]}_{name}", point.value * factor
            elif (metric, kind) in _HOST:
                name, factor = _HOST[metric, kind]
                yield name, point.value * factor
        yield from self._since_start(points)
        yield from self._processor_time(points)

    def _since_start(self, points: list[tuple[str, NumberDataPoint]]) -> Iterator[tuple[str, float]]:
        totals: dict[str, float] = {}
        devices = {str((point.attributes or {}).get(_DEVICE)) for metric, point in points if metric == "system.disk.io"}
        for metric, point in points:
            attributes = point.attributes or {}
            name = _SINCE_START.get((metric, _kind(attributes)))
            device = str(attributes.get(_DEVICE))
            if name is None or device in _LOOPBACK or _STACKED.fullmatch(device) or _is_partition(device, devices):
                continue
            key = _key(metric, attributes)
            # How much a counter that was reset has grown is not known: it counts as 0.
            self._grown[key] += max(point.value - self._previous.get(key, point.value), 0)
            self._previous[key] = point.value
            totals[name] = totals.get(name, 0) + self._grown[key] * 1e-6
        yield from totals.items()

    def _processor_time(self, points: list[tuple[str, NumberDataPoint]]) -> Iterator[tuple[str, float]]:
        """CPU utilization since the previous collection; yields nothing at the first one."""
        idle_s = busy_s = process_s = 0.0
        processors: set[Any] = set()
        has_previous, has_process = True, False
        for metric, point in points:
            if metric not in ("system.cpu.time", "process.cpu.time"):
                continue
            attributes = point.attributes or {}
            key = _key(metric, attributes)
            has_previous = has_previous and key in self._previous
            grown_s = point.value - self._previous.get(key, point.value)
            self._previous[key] = point.value
            if metric == "process.cpu.time":
                has_process = True
                process_s += grown_s
                continue
            processors.add(attributes.get("cpu"))
            if attributes.get("state") in _NOT_BUSY:
                idle_s += grown_s
            else:
                busy_s += grown_s
        total_s = idle_s + busy_s
        if has_previous and total_s > 0:
            yield "cpu_utilization_percentage", 100 * (busy_s / total_s)
            if has_process:
                # 100 is one processor, as in `top`.
                yield "process_cpu_utilization_percentage", 100 * process_s * len(processors) / total_s


def _points(source: ResourceMetrics) -> Iterator[tuple[str, NumberDataPoint]]:
    for scope_metrics in source.scope_metrics:
        for metric in scope_metrics.metrics:
            for point in metric.data.data_points:
                if isinstance(point, NumberDataPoint):
                    yield metric.name, point


def _kind(attributes: Mapping[str, Any]) -> str:
    return next((str(attributes[name]) for name in _KINDS if name in attributes), "")


def _key(metric: str, attributes: Mapping[str, Any]) -> _Key:
    return metric, tuple(sorted(attributes.items()))


def _is_partition(device: str, devices: Iterable[str]) -> bool:
    """Whether a disk is a partition of another one, whose counters include it."""
    # Linux puts a `p` before the partition's number where the disk's name ends with a digit.
    return any(re.fullmatch(rf"{re.escape(one)}{'p' if one[-1:].isdigit() else ''}\d+", device) for one in devices)
