"""NVML, NVIDIA's management library: the one place that imports pynvml and knows its errors."""

from __future__ import annotations

import contextlib
from typing import Any

from tracelet_otel._support.guard import Guard


def prepare() -> None:
    """Import pynvml now, on the calling thread, where it is installed.

    A thread of ours that imported it would hold its lock. A process that is forked meanwhile would wait for that lock
    for good.
    """
    with contextlib.suppress(ImportError):
        import pynvml  # noqa: F401


class NvmlAbsentError(Exception):
    """There is no NVML: no package, no library or no driver."""


class DriverGoneError(Exception):
    """The driver answers no more, for no device."""


class GpuLostError(Exception):
    """One device answers no more."""


class Nvml:
    """NVML as this process has initialised it.

    Args:
        guard: where calls are reported that fail and should not.

    Raises:
        NvmlAbsentError: it cannot be had on this machine.
    """

    def __init__(self, guard: Guard) -> None:
        try:
            import pynvml
        except ImportError as error:
            raise NvmlAbsentError("nvidia-ml-py is not installed") from error
        self._guard = guard
        self.api: Any = pynvml
        """pynvml, for its constants."""
        self._gone = (
            pynvml.NVML_ERROR_UNINITIALIZED,
            pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
            pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
        )
        self._lost = (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED)
        # Ways to say that a device, a driver or a user does not have this reading.
        self._unavailable = (
            pynvml.NVML_ERROR_NOT_SUPPORTED,
            pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
            pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
            pynvml.NVML_ERROR_INVALID_ARGUMENT,
            pynvml.NVML_ERROR_NO_PERMISSION,
            pynvml.NVML_ERROR_NO_DATA,
            pynvml.NVML_ERROR_NOT_FOUND,
        )
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            if error.value in (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED):
                raise NvmlAbsentError(str(error)) from error
            raise

    def ask(self, what: str, *calls: tuple[Any, ...]) -> Any:
        """What the first call answers that NVML has here; None where none does or it fails.

        Args:
            what: is asked for, in words that a user understands.
            calls: the name of a function of pynvml and its arguments; newer ones first.

        Raises:
            GpuLostError: the device answers no more.
            DriverGoneError: the driver answers no more.
        """
        for name, *arguments in calls:
            function = getattr(self.api, name, None)
            if function is None:
                continue
            try:
                return function(*arguments)
            except self.api.NVMLError as error:
                if error.value in self._unavailable:
                    continue
                if error.value in self._gone:
                    raise DriverGoneError(str(error)) from error
                if error.value in self._lost:
                    raise GpuLostError(str(error)) from error
                self._guard.report(f"{what} could not be read", str(error))
                return None
        return None

    def close(self) -> None:
        """Let go of NVML; not in a process that has inherited it."""
        # A driver that is gone says so once more, which has been reported.
        with contextlib.suppress(self.api.NVMLError):
            self.api.nvmlShutdown()
