"""All devices that this process may use: opened at the first reading, and again after a fork."""

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
"""Seconds after which NVML is looked for again where it was not found or has gone away."""


class Devices:
    """Reads all devices in one pass; not for several threads at once.

    Args:
        guard: where failures are reported.
        environment: gives this process's environment, which a script may change before it uses CUDA.
        clock: seconds, monotonic.
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
        self._said_absent = False

    def read(self) -> tuple[GpuReading, ...]:
        """A reading of each device; none where there is no NVML, or none any more."""
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
        """Let go of NVML; the next reading opens it again."""
        # To shut down what a forked process has inherited would take it from its parent.
        if self._nvml is not None and self._pid == os.getpid():
            self._nvml.close()
        self._nvml, self._devices, self._next_try_s = None, (), self._clock()

    def _open(self) -> bool:
        """Open NVML and its devices, unless that is done, or was tried not long ago."""
        if self._pid != os.getpid():
            self.close()
            self._pid = os.getpid()
        if self._nvml is None and self._clock() >= self._next_try_s:
            self._next_try_s = self._clock() + _RETRY_S
            try:
                nvml = Nvml(self._guard)
            except NvmlAbsentError as error:
                self._say_absent(error)
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

    def _say_absent(self, error: NvmlAbsentError) -> None:
        if not self._said_absent:
            self._said_absent = True
            log.debug("no NVIDIA GPU is observed: %s", error)
