"""Times of rows that trackers can tell apart."""

from __future__ import annotations

from typing import Any, Final

_MOST_FRESH: Final = 256
_NOTHING: Final[tuple[int, dict[int, int]]] = (-1, {})
"""Older than any row."""


class Milliseconds:
    """Gives a row a time that differs in its millisecond from those of its names at its step before it.

    Lightning logs the epoch twice at one step, within microseconds. Trackers keep milliseconds, and MLflow takes two
    points for one where all else is equal. The whole row moves, so that its samples still have one time.
    """

    def __init__(self) -> None:
        self._newest_ms = -1
        self._fresh: dict[tuple[Any, ...], tuple[int, int]] = {}
        """The last millisecond and step of rows by their names, before they are in `_last`. Nearly every row has a
        millisecond of its own, and nobody asks for one of its names."""
        self._last: dict[Any, tuple[int, dict[int, int]]] = {}
        """By name, its newest millisecond, and of each step since the last row that had one of its own the last one."""

    def apart(self, time_unix_nano: int, step: int, names: tuple[Any, ...]) -> int:
        """The time that a row gets, in nanoseconds since the epoch.

        Args:
            time_unix_nano: when it was logged.
            step: where.
            names: of its metrics.
        """
        time_ms = time_unix_nano // 1_000_000
        if time_ms > self._newest_ms:
            self._newest_ms = time_ms
            self._fresh[names] = time_ms, step
            if len(self._fresh) > _MOST_FRESH:
                self._settle()
            return time_unix_nano
        self._settle()
        logged_ms = time_ms
        known = [self._last.get(name, _NOTHING) for name in names]
        for newest_ms, last_ms_by_step in known:
            if logged_ms <= newest_ms:
                time_ms = max(time_ms, last_ms_by_step.get(step, -1) + 1)
        for name, (newest_ms, last_ms_by_step) in zip(names, known, strict=True):
            own = last_ms_by_step if logged_ms <= newest_ms else {}
            own[step] = time_ms
            self._last[name] = (max(time_ms, newest_ms), own)
        self._newest_ms = max(self._newest_ms, time_ms)
        return time_unix_nano if time_ms == logged_ms else time_ms * 1_000_000

    def _settle(self) -> None:
        for names, (time_ms, step) in self._fresh.items():
            for name in names:
                if time_ms > self._last.get(name, _NOTHING)[0]:
                    self._last[name] = (time_ms, {step: time_ms})
        self._fresh.clear()
