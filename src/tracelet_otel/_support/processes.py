"""Identifies processes of this machine in spite of reused pids."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import psutil

_START_FIELD: Final = 19
"""Index of the start time (clock ticks after boot) among the fields after the command's name.

Source: proc_pid_stat(5).
"""


def is_alive(pid: int, start: str) -> bool:
    """Whether a process still runs.

    Args:
        pid: pid of the process.
        start: what `started` returned for the process, so that another process with the same pid does not count.
    """
    try:
        return started(pid) == start and bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def started(pid: int) -> str:
    """Return a text that distinguishes a process from all others that had or will have its pid on this machine.

    Raises:
        psutil.NoSuchProcess: there is no process with this pid.
    """
    # psutil's creation time is the last choice: it includes the boot time, which changes when the clock is set.
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return repr(psutil.Process(pid).create_time())
    return f"{boot}/{stat.rpartition(b')')[2].split()[_START_FIELD].decode()}"
