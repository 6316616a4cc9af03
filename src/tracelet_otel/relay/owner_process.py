"""Tells a relay whether the process that owns its run still lives."""

from __future__ import annotations

import threading
from typing import BinaryIO

from tracelet_otel._support.processes import is_alive


class OwnerProcess:
    """The owner of a run. It is alive as long as its end of a pipe is open and its process exists.

    Both are checked. The pipe shows an end at once, but a child that was forked without Python's knowledge may keep it
    open. A pid alone may have been given to another process.

    Args:
        pipe: reads from a pipe to which the owner writes nothing more, and which it closes when it needs no relay.
        pid: pid of the owner.
        start: what `processes.started` returned for the owner.
    """

    def __init__(self, pipe: BinaryIO, pid: int, start: str) -> None:
        self._pid = pid
        self._start = start
        self._closed = threading.Event()
        threading.Thread(target=self._watch, args=(pipe,), name="tracelet-owner", daemon=True).start()

    @property
    def is_gone(self) -> bool:
        """Whether the owner has closed the pipe, or its process has ended."""
        return self._closed.is_set() or not is_alive(self._pid, self._start)

    def wait(self, timeout_s: float) -> bool:
        """Wait for the owner's end, at most `timeout_s` seconds; returns whether it is gone."""
        return self._closed.wait(timeout_s) or self.is_gone

    def _watch(self, pipe: BinaryIO) -> None:
        while pipe.read(4096):
            pass
        self._closed.set()
