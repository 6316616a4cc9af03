"""Waiting for another thread for as long as it makes progress."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class ProgressCondition(threading.Condition):
    """A condition variable that counts steps of progress, so that a waiter can give up when there are none."""

    def __init__(self) -> None:
        super().__init__()
        self._steps = 0
        # Not `_waiters`, which the class that this one extends has.
        self._callers = 0

    @property
    def is_awaited(self) -> bool:
        """Whether any thread is in `wait_until`. All others that wait are notified when one begins."""
        return self._callers > 0

    def advance(self) -> None:
        """Count a step and wake all waiters."""
        with self:
            self._steps += 1
            self.notify_all()

    def wait_until(self, is_reached: Callable[[], bool], patience_s: float, timeout_s: float | None = None) -> bool:
        """Wait until a state is reached, which is checked after each step and each notification.

        Args:
            is_reached: returns whether the state is reached.
            patience_s: give up after this many seconds without a step.
            timeout_s: give up after this many seconds in all; None for no such limit.

        Returns:
            Whether the state is reached.
        """
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        with self:
            self._callers += 1
            self.notify_all()
            try:
                while not is_reached():
                    before = self._steps
                    left_s = patience_s if deadline_s is None else max(deadline_s - time.monotonic(), 0)
                    if not self.wait_for(
                        lambda before=before: is_reached() or self._steps != before,  # type: ignore[misc]
                        min(patience_s, left_s),
                    ):
                        return False
            finally:
                self._callers -= 1
        return True
