"""One pass over the GPUs for each collection, however many instruments it has."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from tracelet_otel.gpu.devices import Devices
from tracelet_otel.gpu.reading import GpuReading

_NOTHING: Final[tuple[GpuReading, ...]] = ()


class Passes:
    """Gives each pass to each instrument at most once: who asks again begins the next one.

    So several readers that collect in turn have passes of their own, and nothing is as old as the
    collection before.

    Args:
        devices: what is read.
        is_wanted: asked before each pass.
    """

    def __init__(self, devices: Devices, is_wanted: Callable[[], bool]) -> None:
        self._devices = devices
        self._is_wanted = is_wanted
        self._lock = threading.Lock()
        self._readings = _NOTHING
        self._takers: set[str] | None = None
        self._is_on = True

    def take(self, taker: str) -> tuple[GpuReading, ...]:
        """Readings of all devices.

        Args:
            taker: the instrument's name.
        """
        with self._lock:
            if not self._is_on:
                return _NOTHING
            if self._takers is None or taker in self._takers:
                self._readings, self._takers = self._devices.read() if self._is_wanted() else _NOTHING, set()
            self._takers.add(taker)
            return self._readings

    def resume(self) -> None:
        """Read again."""
        with self._lock:
            self._is_on = True

    def stop(self) -> None:
        """Read nothing any more and let go of NVML."""
        with self._lock:
            self._is_on, self._readings, self._takers = False, _NOTHING, None
            self._devices.close()
