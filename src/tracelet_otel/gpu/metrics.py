"""The metrics of a GPU: names, units and kinds, and the data points of a reading. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from opentelemetry.metrics import Observation

from tracelet_otel import semconv
from tracelet_otel.gpu.reading import GpuReading, Identity

_Point = tuple[float | None, dict[str, str]]
"""A value, None where it is not known, and the attributes that distinguish this point from others of the metric."""


class Kind(Enum):
    """Kinds of OpenTelemetry instruments, all of them observable."""

    GAUGE = "gauge"
    COUNTER = "counter"
    UP_DOWN_COUNTER = "up-down counter"


@dataclass(frozen=True)
class Metric:
    """Definition of a metric that each device has."""

    name: str
    unit: str
    kind: Kind
    description: str
    points: Callable[[GpuReading], tuple[_Point, ...]]
    """Makes the metric's points from a reading."""


def _one(value: Callable[[GpuReading], float | None]) -> Callable[[GpuReading], tuple[_Point, ...]]:
    return lambda reading: ((value(reading), {}),)


def _utilization(reading: GpuReading) -> tuple[_Point, ...]:
    return (
        (reading.utilization, {semconv.HW_GPU_TASK: semconv.TASK_GENERAL}),
        (reading.encoder_utilization, {semconv.HW_GPU_TASK: semconv.TASK_ENCODER}),
        (reading.decoder_utilization, {semconv.HW_GPU_TASK: semconv.TASK_DECODER}),
    )


def _errors(reading: GpuReading) -> tuple[_Point, ...]:
    return (
        (reading.corrected_errors, {semconv.ERROR_TYPE: semconv.ERRORS_CORRECTED}),
        (reading.uncorrected_errors, {semconv.ERROR_TYPE: semconv.ERRORS_UNCORRECTED}),
    )


def _status(reading: GpuReading) -> tuple[_Point, ...]:
    states = (semconv.STATE_OK, semconv.STATE_DEGRADED, semconv.STATE_FAILED)
    return tuple((int(state == reading.state), {semconv.HW_STATE: state}) for state in states)


def _clocks(reading: GpuReading) -> tuple[_Point, ...]:
    return (
        (reading.sm_clock, {semconv.GPU_CLOCK: semconv.CLOCK_SM}),
        (reading.memory_clock, {semconv.GPU_CLOCK: semconv.CLOCK_MEMORY}),
    )


def _throttle(reading: GpuReading) -> tuple[_Point, ...]:
    reasons = (reading.throttle or {}).items()
    return tuple((int(applies), {semconv.GPU_THROTTLE_REASON: reason}) for reason, applies in reasons)


def _pcie(reading: GpuReading) -> tuple[_Point, ...]:
    return (
        (reading.pcie_received, {semconv.NETWORK_IO_DIRECTION: semconv.DIRECTION_RECEIVE}),
        (reading.pcie_transmitted, {semconv.NETWORK_IO_DIRECTION: semconv.DIRECTION_TRANSMIT}),
    )


_GAUGE, _COUNTER, _UP_DOWN = Kind.GAUGE, Kind.COUNTER, Kind.UP_DOWN_COUNTER

METRICS: Final = (
    Metric(
        semconv.GPU_UTILIZATION, semconv.RATIO_UNIT, _GAUGE, "Fraction of the time in which a task ran", _utilization
    ),
    Metric(
        semconv.GPU_MEMORY_USAGE,
        semconv.BYTES_UNIT,
        _UP_DOWN,
        "Memory in use",
        _one(lambda reading: reading.memory_used),
    ),
    Metric(
        semconv.GPU_MEMORY_LIMIT,
        semconv.BYTES_UNIT,
        _UP_DOWN,
        "Memory there is",
        _one(lambda reading: reading.memory_total),
    ),
    Metric(
        semconv.GPU_MEMORY_UTILIZATION,
        semconv.RATIO_UNIT,
        _GAUGE,
        "Fraction of the memory in use",
        _one(lambda reading: reading.memory_utilization),
    ),
    Metric(semconv.HW_POWER, semconv.WATTS_UNIT, _GAUGE, "Power drawn", _one(lambda reading: reading.power)),
    Metric(
        semconv.HW_ENERGY,
        semconv.JOULES_UNIT,
        _COUNTER,
        "Energy used since the driver was loaded",
        _one(lambda reading: reading.energy),
    ),
    Metric(
        semconv.HW_TEMPERATURE,
        semconv.CELSIUS_UNIT,
        _GAUGE,
        "Temperature of the chip",
        _one(lambda reading: reading.temperature),
    ),
    Metric(
        semconv.HW_FAN_SPEED_RATIO,
        semconv.RATIO_UNIT,
        _GAUGE,
        "Fraction of the fan's highest speed",
        _one(lambda reading: reading.fan_speed),
    ),
    Metric(semconv.HW_ERRORS, semconv.ERRORS_UNIT, _COUNTER, "Memory errors since the driver was loaded", _errors),
    Metric(semconv.HW_STATUS, semconv.RATIO_UNIT, _UP_DOWN, "1 for the state that the GPU is in", _status),
    Metric(semconv.GPU_CLOCK_FREQUENCY, semconv.HERTZ_UNIT, _GAUGE, "Frequency of a clock", _clocks),
    Metric(
        semconv.GPU_THROTTLE, semconv.RATIO_UNIT, _GAUGE, "1 for each reason for which clocks are lowered", _throttle
    ),
    Metric(semconv.GPU_PCIE_THROUGHPUT, semconv.BYTES_PER_SECOND_UNIT, _GAUGE, "What goes over the PCIe bus", _pcie),
    Metric(
        semconv.GPU_PROCESS_MEMORY_USAGE,
        semconv.BYTES_UNIT,
        _UP_DOWN,
        "Memory that this process uses",
        _one(lambda reading: reading.process_memory),
    ),
)
"""Each becomes one instrument."""


def observations(metric: Metric, reading: GpuReading) -> Iterator[Observation]:
    """Yield the points of one metric of one device; a value that is not known has no point."""
    common = _attributes(reading.identity)
    for value, own in metric.points(reading):
        if value is not None:
            yield Observation(value, {**common, **own})


def _attributes(identity: Identity) -> dict[str, str | int]:
    named = {} if identity.name is None else {semconv.HW_NAME: identity.name, semconv.HW_MODEL: identity.name}
    version = {} if identity.driver_version is None else {semconv.HW_DRIVER_VERSION: identity.driver_version}
    return {
        semconv.HW_ID: identity.uuid,
        semconv.HW_TYPE: semconv.HW_TYPE_GPU,
        semconv.HW_VENDOR: semconv.HW_VENDOR_NVIDIA,
        semconv.GPU_INDEX: identity.index,
        **named,
        **version,
    }
