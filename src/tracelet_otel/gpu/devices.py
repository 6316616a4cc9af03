"""All GPUs that this process may use: opened at the first reading, and again after a fork."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from tracelet_otel._support.guard import Guard, log
from tracelet_otel.gpu.device import Device
from tracelet_otel.gpu.nvml import DriverGoneError, Nvml, NvmlAbsentError
from tracelet_otel.gpu.opening import open_devices
from tracelet_otel.gpu.reading import GpuReading
from tracelet_otel.gpu.visible import VARIABLE

_RETRY_S: Final = 60.0
"""Seconds after which NVML is tried again where it was not found or has gone away."""


class Devices:
    """Reads all devices in one pass. Not thread-safe.

    Args:
        guard: where failures are reported.
        environment: returns this process's environment variables, which a script may change before it uses CUDA.
        clock: returns monotonic time in seconds.
    """

    def __init__(
        self, guard: Guard, environment: Callable[[], Mapping[str, str]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._guard = guard
        self._environment = environment
        self._clock = clock
        self._nvml: Nvml | None = None
        self._devices: tuple[Device, ...] = ()
        self._pid: int | None = None
        self._next_try_s = clock()
        self._absence_logged = False

    def read(self) -> tuple[GpuReading, ...]:
        """Read each device. The result is empty where NVML is not available, or no longer."""
        try:
            if self._open():
                return tuple(self._readings())
        except DriverGoneError as error:
            self._guard.report("the GPU driver is gone, all readings end", str(error))
            self.close()
            self._next_try_s = self._clock() + _RETRY_S
        except Exception as error:
            self._guard.report("GPUs could not be read", error)
        return ()

    def close(self) -> None:
        """Release NVML; the next reading opens it again."""
        # A forked process must not shut down what it has inherited: its parent would lose it.
        if self._nvml is not None and self._pid == os.getpid():
            self._nvml.close()
        self._nvml, self._devices, self._next_try_s = None, (), self._clock()

    def _open(self) -> bool:
        """Open NVML and its devices, unless they are open or were tried recently; return whether they are open."""
        if self._pid != os.getpid():
            self.close()
            self._pid = os.getpid()
        if self._nvml is None and self._clock() >= self._next_try_s:
            self._next_try_s = self._clock() + _RETRY_S
            try:
                nvml = Nvml(self._guard)
            except NvmlAbsentError as error:
                self._log_absence(error)
                return False
            self._nvml = nvml
            self._devices = open_devices(nvml, self._guard, self._environment().get(VARIABLE))
        return self._nvml is not None

    def _readings(self) -> Iterator[GpuReading]:
        for device in self._devices:
            try:
                yield device.read(os.getpid())
            except DriverGoneError:
                raise
            except Exception as error:
                self._guard.report(f"GPU {device.identity.index} could not be read", error)

    def _log_absence(self, error: NvmlAbsentError) -> None:
        if not self._absence_logged:
            self._absence_logged = True
            log.debug("no NVIDIA GPU is observed: %s", error)
