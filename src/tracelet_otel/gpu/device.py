"""One device that is read repeatedly: the NVML functions for each value, and the conversion of their units."""

from __future__ import annotations

from typing import Any, Final

from tracelet_otel._support.guard import Guard
from tracelet_otel.gpu.nvml import GpuLostError, Nvml
from tracelet_otel.gpu.reading import GpuReading, Identity, throttle_of

_PER_CENT: Final = 100
_MILLI: Final = 1000
_HERTZ_PER_MHZ: Final = 1_000_000
_BYTES_PER_KB: Final = 1000
"""NVML's documentation says KB, and mentions no power of two."""


class Device:
    """A device that NVML has opened.

    Args:
        nvml: NVML, as initialised in this process.
        guard: where the loss of the device is reported.
        handle: NVML's handle of the device.
        identity: what identifies the device.
    """

    def __init__(self, nvml: Nvml, guard: Guard, handle: Any, identity: Identity) -> None:
        self.identity = identity
        """What identifies the device: index, UUID, name and driver version."""
        self._nvml = nvml
        self._guard = guard
        self._handle = handle
        self._is_lost = False
        self._known_throttle = self._ask(
            "known reasons to throttle",
            "nvmlDeviceGetSupportedClocksEventReasons",
            "nvmlDeviceGetSupportedClocksThrottleReasons",
        )

    def read(self, pid: int) -> GpuReading:
        """Read all values of the device. Once the device is lost, it is not read again.

        Args:
            pid: pid of this process, to find the memory that it uses.

        Returns:
            The values; for a lost device only that it is lost.

        Raises:
            DriverGoneError: the driver no longer answers.
        """
        if not self._is_lost:
            try:
                return self._read(pid)
            except GpuLostError as error:
                self._is_lost = True
                self._guard.report(f"GPU {self.identity.index} is lost, its readings end", str(error))
        return GpuReading(self.identity, is_lost=True)

    def _read(self, pid: int) -> GpuReading:
        api = self._nvml.api
        used, total = self._memory()
        rates = self._ask("utilization", "nvmlDeviceGetUtilizationRates")
        return GpuReading(
            self.identity,
            utilization=None if rates is None else rates.gpu / _PER_CENT,
            encoder_utilization=self._engine("encoder", "nvmlDeviceGetEncoderUtilization"),
            decoder_utilization=self._engine("decoder", "nvmlDeviceGetDecoderUtilization"),
            memory_used=used,
            memory_total=total,
            power=_divided(self._ask("power", "nvmlDeviceGetPowerUsage"), _MILLI),
            energy=_divided(self._ask("energy", "nvmlDeviceGetTotalEnergyConsumption"), _MILLI),
            temperature=self._ask(
                "temperature", "nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature", of=(api.NVML_TEMPERATURE_GPU,)
            ),
            fan_speed=_divided(self._ask("fan speed", "nvmlDeviceGetFanSpeed"), _PER_CENT),
            corrected_errors=self._errors(api.NVML_MEMORY_ERROR_TYPE_CORRECTED),
            uncorrected_errors=self._errors(api.NVML_MEMORY_ERROR_TYPE_UNCORRECTED),
            sm_clock=self._clock(api.NVML_CLOCK_SM),
            memory_clock=self._clock(api.NVML_CLOCK_MEM),
            throttle=throttle_of(self._throttle(), self._known_throttle),
            pcie_received=self._pcie(api.NVML_PCIE_UTIL_RX_BYTES),
            pcie_transmitted=self._pcie(api.NVML_PCIE_UTIL_TX_BYTES),
            process_memory=self._process_memory(pid),
        )

    def _memory(self) -> tuple[int | None, int | None]:
        """Used and total memory in bytes.

        The second version of the call comes first: the first version counts the driver's own memory as used.
        """
        memory = self._nvml.ask(
            f"memory of GPU {self.identity.index}",
            ("nvmlDeviceGetMemoryInfo", self._handle, self._nvml.api.nvmlMemory_v2),
            ("nvmlDeviceGetMemoryInfo", self._handle),
        )
        return (None, None) if memory is None else (memory.used, memory.total)

    def _engine(self, name: str, function: str) -> float | None:
        answer = self._ask(f"utilization of the {name}", function)
        return None if answer is None else answer[0] / _PER_CENT

    def _errors(self, kind: int) -> int | None:
        volatile = self._nvml.api.NVML_VOLATILE_ECC
        errors: int | None = self._ask("memory errors", "nvmlDeviceGetTotalEccErrors", of=(kind, volatile))
        return errors

    def _clock(self, clock: int) -> int | None:
        return _multiplied(self._ask("clocks", "nvmlDeviceGetClockInfo", of=(clock,)), _HERTZ_PER_MHZ)

    def _throttle(self) -> int | None:
        active: int | None = self._ask(
            "reasons to throttle",
            "nvmlDeviceGetCurrentClocksEventReasons",
            "nvmlDeviceGetCurrentClocksThrottleReasons",
        )
        return active

    def _pcie(self, direction: int) -> int | None:
        """Bytes per second. NVML counts them for 20 ms, which is most of the time that a reading takes."""
        return _multiplied(self._ask("PCIe throughput", "nvmlDeviceGetPcieThroughput", of=(direction,)), _BYTES_PER_KB)

    def _process_memory(self, pid: int) -> int | None:
        processes = self._ask(
            "processes", "nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2"
        )
        # A process is listed once for each MIG device that it uses; the memory that it uses may be unknown.
        used = [one.usedGpuMemory for one in processes or () if one.pid == pid and one.usedGpuMemory is not None]
        return sum(used) if used else None

    def _ask(self, what: str, *functions: str, of: tuple[int, ...] = ()) -> Any:
        calls = ((function, self._handle, *of) for function in functions)
        return self._nvml.ask(f"{what} of GPU {self.identity.index}", *calls)


def _divided(value: int | None, by: int) -> float | None:
    return None if value is None else value / by


def _multiplied(value: int | None, by: int) -> int | None:
    return None if value is None else value * by
