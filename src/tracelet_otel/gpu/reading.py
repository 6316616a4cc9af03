"""What was read from one GPU at one moment, in the units of the conventions. Pure."""

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
"""NVML's bits of clock event reasons."""
# Not `hw_slowdown` by itself: NVML may report it while clocks merely change.
_DEGRADING: Final = (semconv.THROTTLE_HW_THERMAL, semconv.THROTTLE_HW_POWER_BRAKE)


@dataclass(frozen=True)
class Identity:
    """What a device is, which does not change."""

    index: int
    """As `nvidia-smi` counts; that of its GPU for a MIG device."""
    uuid: str
    name: str | None
    """Of the product."""
    driver_version: str | None


@dataclass(frozen=True)
class GpuReading:
    """One device at one moment; None is what is not known."""

    identity: Identity
    is_lost: bool = False
    """Whether the driver has lost the device: then nothing else is known of it."""
    utilization: float | None = None
    """Fraction of the time in which it computed."""
    encoder_utilization: float | None = None
    """Fraction of the time in which it encoded video."""
    decoder_utilization: float | None = None
    """Fraction of the time in which it decoded video."""
    memory_used: int | None = None
    """Bytes in use, without those that the driver keeps for itself where it tells them apart."""
    memory_total: int | None = None
    """Bytes that there are."""
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
    """Whether each reason to lower clocks that the device knows applies: one of `semconv.THROTTLE_*`."""
    pcie_received: int | None = None
    """Bytes a second."""
    pcie_transmitted: int | None = None
    """Bytes a second."""
    process_memory: int | None = None
    """Bytes that this process uses on it."""

    @property
    def memory_utilization(self) -> float | None:
        """Fraction of the memory that is in use."""
        return self.memory_used / self.memory_total if self.memory_used is not None and self.memory_total else None

    @property
    def state(self) -> str:
        """One of `semconv.STATE_*`; what is not known makes it no worse."""
        if self.is_lost:
            return semconv.STATE_FAILED
        is_slowed = self.throttle is not None and any(self.throttle.get(reason) for reason in _DEGRADING)
        return semconv.STATE_DEGRADED if is_slowed or self.uncorrected_errors else semconv.STATE_OK


def throttle_of(active: int | None, supported: int | None) -> dict[str, bool] | None:
    """Reasons to lower clocks, by name, out of NVML's bits.

    Args:
        active: those that apply.
        supported: those that the device knows; of others it cannot be told whether they apply.
    """
    if active is None or supported is None:
        return None
    return {name: bool(active & bit) for bit, name in _REASONS.items() if supported & bit}
