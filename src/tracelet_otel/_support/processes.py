"""Processes of this machine, each told from all others that had or will have its pid."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import psutil

_START_FIELD: Final = 19
"""Start time in clock ticks after boot, counted from behind the command's name. Source: proc_pid_stat(5)."""


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
