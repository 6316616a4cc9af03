"""The process that owns a run, as its relay sees it."""

from __future__ import annotations

import threading
from typing import BinaryIO

from tracelet_otel._support.processes import is_alive


class OwnerProcess:
    """Alive as long as its end of a pipe is open and its process is there.

    Both are asked: the pipe tells at once, but a child that was forked without Python's knowledge
    may hold it open; a pid alone may have become another process's.

    Args:
        pipe: what the owner writes nothing to, and closes.
        pid: the owner's.
        start: what `started` said of it.
    """

    def __init__(self, pipe: BinaryIO, pid: int, start: str) -> None:
        self._pid = pid
        self._start = start
        self._let_go = threading.Event()
        threading.Thread(target=self._watch, args=(pipe,), name="tracelet-owner", daemon=True).start()

    @property
    def is_gone(self) -> bool:
        """Whether the owner has let go of the relay, or has ended."""
        return self._let_go.is_set() or not is_alive(self._pid, self._start)

    def _watch(self, pipe: BinaryIO) -> None:
        while pipe.read(4096):
            pass
        self._let_go.set()
