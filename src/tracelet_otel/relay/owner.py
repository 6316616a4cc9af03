"""The process that owns a run, as its relay sees it."""

from __future__ import annotations

import threading
from typing import BinaryIO, Final

import psutil

_SAME_S: Final = 0.05
"""Two readings of one process's creation time differ by rounding only."""


class Owner:
    """Alive as long as its end of a pipe is open and its process is there.

    Both are asked: the pipe tells at once, but a child that was forked without Python's knowledge
    may hold it open; a pid alone may have become another process's.

    Args:
        pipe: what the owner writes nothing to, and closes.
        pid: the owner's.
        created_s: when it was started, seconds since the epoch.
    """

    def __init__(self, pipe: BinaryIO, pid: int, created_s: float) -> None:
        self._pid = pid
        self._created_s = created_s
        self._let_go = threading.Event()
        threading.Thread(target=self._watch, args=(pipe,), name="tracelet-owner", daemon=True).start()

    @property
    def is_gone(self) -> bool:
        """Whether the owner has let go of the relay, or has ended."""
        return self._let_go.is_set() or not is_alive(self._pid, self._created_s)

    def _watch(self, pipe: BinaryIO) -> None:
        while pipe.read(4096):
            pass
        self._let_go.set()


def is_alive(pid: int, created_s: float) -> bool:
    """Whether a process that was started at a given time still runs."""
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - created_s) < _SAME_S and bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def created_s(pid: int) -> float:
    """When a process was started, seconds since the epoch."""
    return float(psutil.Process(pid).create_time())
