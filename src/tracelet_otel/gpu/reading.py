"""The values that were read from one GPU at one moment, in the units of OpenTelemetry's conventions. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tracelet_otel import semconv

_REASONS: Final = {
    0x001: semconv.THROTTLE_IDLE,
    0x002: semconv.THROTTLE_APPLICATIONS_CLOCKS,
    0x004: semconv.THROTTLE_SW_POWER_CAP,
    0x008: semconv.THROTTLE_HW_SLOWDOWN,
    0x010: semconv.THROTTLE_SYNC_BOOST,
    0x020: semconv.THROTTLE_SW_THERMAL,
    0x040: semconv.THROTTLE_HW_THERMAL,
    0x080: semconv.THROTTLE_HW_POWER_BRAKE,
    0x100: semconv.THROTTLE_DISPLAY_CLOCK,
}
"""NVML's bits of clock event reasons: why clocks are lowered."""
# Reasons for which a GPU counts as degraded. `hw_slowdown` is none: NVML may report it while clocks merely change.
_DEGRADING: Final = (semconv.THROTTLE_HW_THERMAL, semconv.THROTTLE_HW_POWER_BRAKE)


@dataclass(frozen=True)
class Identity:
    """What identifies a device and does not change."""

    index: int
    """Index as `nvidia-smi` counts; a MIG device has that of its GPU."""
    uuid: str
    name: str | None
    """Name of the product."""
    driver_version: str | None


@dataclass(frozen=True)
class GpuReading:
    """The values of one device at one moment; None where a value is not known."""

    identity: Identity
    is_lost: bool = False
    """Whether the driver has lost the device; if so, no other value is known."""
    utilization: float | None = None
    """Fraction of the time in which it computed."""
    encoder_utilization: float | None = None
    """Fraction of the time in which it encoded video."""
    decoder_utilization: float | None = None
    """Fraction of the time in which it decoded video."""
    memory_used: int | None = None
    """Bytes in use, without those that the driver keeps for itself where NVML counts them separately."""
    memory_total: int | None = None
    """Bytes in total."""
    power: float | None = None
    """Watts."""
    energy: float | None = None
    """Joules since the driver was loaded."""
    temperature: int | None = None
    """Degrees Celsius."""
    fan_speed: float | None = None
    """Fraction of the highest speed."""
    corrected_errors: int | None = None
    """Memory errors since the driver was loaded."""
    uncorrected_errors: int | None = None
    """Memory errors since the driver was loaded that could not be corrected."""
    sm_clock: int | None = None
    """Hertz, of the streaming multiprocessors."""
    memory_clock: int | None = None
    """Hertz."""
    throttle: Mapping[str, bool] | None = None
    """By reason to lower clocks (`semconv.THROTTLE_*`), whether it applies. Only reasons that the device supports."""
    pcie_received: int | None = None
    """Bytes per second."""
    pcie_transmitted: int | None = None
    """Bytes per second."""
    process_memory: int | None = None
    """Bytes of the device's memory that this process uses."""

    @property
    def memory_utilization(self) -> float | None:
        """Fraction of the memory that is in use."""
        return self.memory_used / self.memory_total if self.memory_used is not None and self.memory_total else None

    @property
    def state(self) -> str:
        """One of `semconv.STATE_*`; a value that is not known does not make it worse."""
        if self.is_lost:
            return semconv.STATE_FAILED
        is_slowed = self.throttle is not None and any(self.throttle.get(reason) for reason in _DEGRADING)
        return semconv.STATE_DEGRADED if is_slowed or self.uncorrected_errors else semconv.STATE_OK


def throttle_of(active: int | None, supported: int | None) -> dict[str, bool] | None:
    """Convert NVML's bits to reasons to lower clocks, by name.

    Args:
        active: bits of the reasons that apply; None where not known.
        supported: bits of the reasons that the device supports; None where not known.

    Returns:
        Whether each supported reason applies; None where that is not known.
    """
    if active is None or supported is None:
        return None
    return {name: bool(active & bit) for bit, name in _REASONS.items() if supported & bit}
