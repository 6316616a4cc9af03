"""Waiting for somebody as long as he gets on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class ProgressCondition(threading.Condition):
    """A condition that counts steps: who waits gives up on who makes none."""

    def __init__(self) -> None:
        super().__init__()
        self._steps = 0

    def advance(self) -> None:
        """Say that a step is done."""
        with self:
            self._steps += 1
            self.notify_all()

    def wait_until(self, is_reached: Callable[[], bool], patience_s: float, timeout_s: float | None = None) -> bool:
        """Wait for something; `is_reached` is asked after each step and each notification.

        Args:
            is_reached: whether it is there.
            patience_s: give up after so many seconds without a step.
            timeout_s: give up after so many seconds in all; None for no such limit.

        Returns:
            Whether it is there.
        """
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        with self:
            while not is_reached():
                before = self._steps
                left_s = patience_s if deadline_s is None else max(deadline_s - time.monotonic(), 0)
                if not self.wait_for(
                    lambda before=before: is_reached() or self._steps != before,  # type: ignore[misc]
                    min(patience_s, left_s),
                ):
                    return False
        return True
