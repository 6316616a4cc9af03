"""Reads the GPUs once for each collection, whatever the number of instruments."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Final
from weakref import WeakSet

from tracelet_otel.gpu.devices import Devices
from tracelet_otel.gpu.reading import GpuReading

_NOTHING: Final[tuple[GpuReading, ...]] = ()
_LONGEST_FORK_S: Final = 5.0
"""Seconds that a fork waits for a pass at most. A driver that has lost its device may never answer."""

_all: Final[WeakSet[Passes]] = WeakSet()


class Passes:
    """Gives the readings of each pass to each instrument at most once: an instrument that asks again starts a new pass.

    So several readers that collect in turn have passes of their own, and no reading is as old as the previous
    collection.

    A fork waits for a pass that is under way. Otherwise its child would find the driver's library locked forever, by
    a thread that the child does not have.

    Args:
        devices: the devices to read.
        is_wanted: called before each pass; where it returns False, no device is read.
    """

    def __init__(self, devices: Devices, is_wanted: Callable[[], bool]) -> None:
        self._devices = devices
        self._is_wanted = is_wanted
        self._lock = threading.Lock()
        self._readings = _NOTHING
        self._takers: set[str] | None = None
        self._is_on = True
        self._is_held = False
        """Whether a fork holds the lock."""
        self._is_stuck = False
        """Whether the last fork waited without getting the lock: then the next one does not wait."""
        _all.add(self)

    def take(self, taker: str) -> tuple[GpuReading, ...]:
        """Return readings of all devices, which are empty after `stop`.

        Args:
            taker: name of the instrument that asks.
        """
        with self._lock:
            if not self._is_on:
                return _NOTHING
            if self._takers is None or taker in self._takers:
                self._readings, self._takers = self._devices.read() if self._is_wanted() else _NOTHING, set()
            self._takers.add(taker)
            return self._readings

    def resume(self) -> None:
        """Read again after `stop`."""
        with self._lock:
            self._is_on = True

    def stop(self) -> None:
        """Stop reading and release NVML."""
        with self._lock:
            self._is_on, self._readings, self._takers = False, _NOTHING, None
            self._devices.close()

    def _before_fork(self) -> None:
        self._is_held = self._lock.acquire(timeout=0 if self._is_stuck else _LONGEST_FORK_S)
        self._is_stuck = not self._is_held

    def _after_fork(self) -> None:
        if self._is_held:
            self._is_held = False
            self._lock.release()

    def _after_fork_in_child(self) -> None:
        self._lock, self._is_held = threading.Lock(), False


def _each(method: Callable[[Passes], None]) -> Callable[[], None]:
    def call() -> None:
        for passes in list(_all):
            method(passes)

    return call


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_each(Passes._before_fork),
        after_in_parent=_each(Passes._after_fork),
        after_in_child=_each(Passes._after_fork_in_child),
    )
