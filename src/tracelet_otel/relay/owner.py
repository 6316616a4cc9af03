"""The process that owns a run, as its relay sees it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import BinaryIO, Final

import psutil

_START_FIELD: Final = 19
"""Start time in clock ticks after boot, counted from behind the command's name. Source: proc_pid_stat(5)."""


class Owner:
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


def is_alive(pid: int, start: str) -> bool:
    """Whether the process of which `started` said something still runs."""
    try:
        return started(pid) == start and bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def started(pid: int) -> str:
    """What tells a process from all others that had or will have its pid on this machine.

    Raises:
        psutil.NoSuchProcess: there is none.
    """
    # psutil adds the time of boot, which moves whenever the machine's clock is set.
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return repr(psutil.Process(pid).create_time())
    return f"{boot}/{stat.rpartition(b')')[2].split()[_START_FIELD].decode()}"
