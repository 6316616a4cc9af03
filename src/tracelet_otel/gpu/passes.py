"""One pass over the GPUs for each collection, however many instruments it has."""

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
"""For so long a fork waits for a pass. A driver that has lost its device may never answer."""

_all: Final[WeakSet[Passes]] = WeakSet()


class Passes:
    """Gives each pass to each instrument at most once: who asks again begins the next one.

    So several readers that collect in turn have passes of their own, and nothing is as old as the
    collection before.

    A fork waits for a pass that is under way: its child would find the driver's library locked for good by a thread
    that it does not have.

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
        self._is_held = False
        """Whether a fork holds the lock."""
        self._is_stuck = False
        """Whether the last fork has waited in vain: then the next one does not wait."""
        _all.add(self)

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
