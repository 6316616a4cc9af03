"""Times of rows, moved by milliseconds where a tracker could not tell two rows apart otherwise."""

from __future__ import annotations

from typing import Any, Final

_MOST_FRESH: Final = 256
"""Rows in `Milliseconds._fresh` before they are moved to `_last`."""
_NOTHING: Final[tuple[int, dict[int, int]]] = (-1, {})
"""What `Milliseconds._last` would have of a name without rows: older than any row."""


class Milliseconds:
    """Moves a row to a later millisecond where one of its metrics already has a value in it at the same step.

    Lightning logs the epoch twice at one step, within microseconds. Trackers keep milliseconds, and MLflow takes two
    points for one where all else is equal. The whole row is moved, so that its samples still have one time.
    """

    def __init__(self) -> None:
        self._newest_ms = -1
        self._fresh: dict[tuple[Any, ...], tuple[int, int]] = {}
        """Last millisecond and step of rows, by the tuple of their names. They are moved to `_last` when a row comes
        that is not in a newer millisecond. That is rare, so most rows are spared the work for each name."""
        self._last: dict[Any, tuple[int, dict[int, int]]] = {}
        """By metric name: its newest millisecond, and the last millisecond of each step. The steps are forgotten when
        a row of the name is logged after its newest millisecond."""

    def apart(self, time_unix_nano: int, step: int, names: tuple[Any, ...]) -> int:
        """Choose the time of a row.

        Args:
            time_unix_nano: when the row was logged, in nanoseconds since the epoch.
            step: the step at which it was logged.
            names: names of its metrics.

        Returns:
            The row's time, in nanoseconds since the epoch: unchanged, or a later whole millisecond.
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
        """Move the rows of `_fresh` to `_last`."""
        for names, (time_ms, step) in self._fresh.items():
            for name in names:
                if time_ms > self._last.get(name, _NOTHING)[0]:
                    self._last[name] = (time_ms, {step: time_ms})
        self._fresh.clear()
