"""The clock by which a relay waits for ranks. It stands still while the relay itself is what they wait for."""

from __future__ import annotations

import threading
import time


class Clock:
    """Seconds of the monotonic clock, without those in which the relay has turned requests away. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stopped_s = 0.0
        """How long it has stood still, up to the stop that goes on now."""
        self._from_s = self._until_s = 0.0
        """Beginning and end of the last stop, or of the one that goes on."""

    def __call__(self) -> float:
        """The time in seconds."""
        with self._lock:
            return self._at(time.monotonic())

    def stop(self, pause_s: float) -> None:
        """Stand still for some time from now on.

        Args:
            pause_s: seconds after which a request that was turned away has come again.
        """
        with self._lock:
            now_s = time.monotonic()
            if now_s >= self._until_s:
                self._stopped_s += self._until_s - self._from_s
                self._from_s = self._until_s = now_s
            self._until_s = max(self._until_s, now_s + pause_s)

    def _at(self, now_s: float) -> float:
        return max(self._from_s, now_s - (self._until_s - self._from_s)) - self._stopped_s
