"""NVML, NVIDIA's management library. The only file that imports pynvml and handles its errors."""

from __future__ import annotations

import contextlib
from typing import Any

from tracelet_otel._support.guard import Guard


def prepare() -> None:
    """Import pynvml now, on the calling thread, where it is installed.

    A thread of ours that imported it would hold the module's import lock. A process that is forked meanwhile would
    wait for that lock forever.
    """
    with contextlib.suppress(ImportError):
        import pynvml  # noqa: F401


class NvmlAbsentError(Exception):
    """There is no NVML: no package, no library or no driver."""


class DriverGoneError(Exception):
    """The driver no longer answers, for any device."""


class GpuLostError(Exception):
    """One device no longer answers."""


class Nvml:
    """NVML, initialised in this process.

    Args:
        guard: where calls that fail unexpectedly are reported.

    Raises:
        NvmlAbsentError: NVML is not available on this machine.
    """

    def __init__(self, guard: Guard) -> None:
        try:
            import pynvml
        except ImportError as error:
            raise NvmlAbsentError("nvidia-ml-py is not installed") from error
        self._guard = guard
        self.api: Any = pynvml
        """The module `pynvml`, for its constants."""
        self._gone = (
            pynvml.NVML_ERROR_UNINITIALIZED,
            pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
            pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
        )
        self._lost = (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED)
        # Errors by which NVML says that a device, a driver or a user does not have this reading.
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
        """Return the answer to the first call that is available here; None where none is, or it fails.

        Args:
            what: what is asked for, in words that a user understands.
            calls: each the name of a pynvml function and its arguments; newer functions first.

        Raises:
            GpuLostError: the device no longer answers.
            DriverGoneError: the driver no longer answers.
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
        """Shut NVML down. Not to be called in a forked process that has inherited it."""
        # A driver that is gone fails here once more; that was reported before.
        with contextlib.suppress(self.api.NVMLError):
            self.api.nvmlShutdown()
