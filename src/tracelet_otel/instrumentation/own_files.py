"""Files that a run records by itself. Each is made and written by a thread of its own: a disk may be slow."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Final

from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.files import Files
from tracelet_otel.instrumentation.spool import SpoolWriter

_LONGEST_S: Final = 5.0
"""Seconds for which the end of a run waits for them."""


class OwnFiles:
    """Records texts as files of the run. No method raises.

    Args:
        files: where they go.
        spool: the spool of the run.
        guard: where errors are reported.
        is_wanted: whether any are recorded.
    """

    def __init__(self, files: Files, spool: SpoolWriter, guard: Guard, *, is_wanted: bool) -> None:
        self._files = files
        self._spool = spool
        self._guard = guard
        self._is_wanted = is_wanted
        self._lock = threading.Lock()
        self._texts: dict[str, str] = {}
        """What was recorded last, by name."""
        self._threads: list[threading.Thread] = []
        self._pid = os.getpid()

    @property
    def are_taken(self) -> bool:
        """Whether they are wanted, and come to a relay."""
        return self._is_wanted and os.getpid() == self._pid and self._spool.takes_files

    def add(self, name: str, make: Callable[[], str]) -> None:
        """Record a text, unless the same one was recorded already.

        Args:
            name: one of `OWN_FILES`.
            make: returns the text, on another thread.
        """
        try:
            if self.are_taken:
                thread = threading.Thread(target=self._record, args=(name, make), name="tracelet-text", daemon=True)
                thread.start()
                self._threads = [*(one for one in self._threads if one.is_alive()), thread]
        except Exception as error:
            self._guard.report(f"{name} is not recorded", error)

    def close(self) -> None:
        """Wait until all are recorded, for some seconds at most."""
        deadline_s = time.monotonic() + _LONGEST_S
        for thread in self._threads:
            thread.join(max(deadline_s - time.monotonic(), 0))

    def _record(self, name: str, make: Callable[[], str]) -> None:
        try:
            text = make()
            with self._lock:
                if self._texts.get(name) != text:
                    self._files.add_own(name, text)
                    self._texts[name] = text
        except Exception as error:
            self._guard.report(f"{name} is not recorded", error)
