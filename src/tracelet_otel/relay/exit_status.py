"""How a process has ended that is no child of ours, as far as Linux tells.

Source: pidfd_open(2); `PIDFD_GET_INFO` in linux/pidfd.h; proc_pid_stat(5).
"""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path
from typing import Final

import psutil

from tracelet_otel._support.processes import started

_GET_INFO: Final = 0xC040FF0B
"""`PIDFD_GET_INFO` for the first version of its structure, on all machines but MIPS, PowerPC and SPARC."""
_INFO: Final = struct.Struct("=Q52xi")
"""The first version of `struct pidfd_info`: what is asked for, much that is not, and the status."""
_ASKS_FOR_EXIT: Final = 1 << 3
_STATE_FIELD: Final = 0
_STATUS_FIELD: Final = 49
"""Index of the status among the fields after the command's name."""
_ENDED: Final = (b"Z", b"X")


class ExitStatus:
    """Tells how a process has ended, if it was held before that.

    Linux 6.15 and later keep the status for whoever holds a descriptor. Before that, it can be read from the moment at
    which the process ends to that at which its parent has asked for it, which may be no time at all.

    Args:
        pid: pid of the process.
        start: what `processes.started` returned for it.
    """

    def __init__(self, pid: int, start: str) -> None:
        self._pid = pid
        self._start = start
        self._status: int | None = None
        self._descriptor: int | None = None

    def hold(self) -> int | None:
        """Hold a descriptor, which becomes readable when the process ends.

        Returns:
            The descriptor; None where the system has none, or the process is gone.
        """
        self._descriptor = _descriptor(self._pid, self._start)
        return self._descriptor

    def let_go(self) -> None:
        """Close the descriptor, after which less may be known."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def read(self) -> int | None:
        """The status as `os.wait` returns it; None where it is not known, as of a process that has not ended."""
        if self._status is None:
            self._status = self._kept()
        if self._status is None:
            self._status = self._shown()
        return self._status

    def _kept(self) -> int | None:
        """What the system has kept of a process that its parent has asked for."""
        if sys.platform == "win32" or self._descriptor is None:
            return None
        import fcntl

        info = bytearray(_INFO.pack(_ASKS_FOR_EXIT, 0))
        try:
            fcntl.ioctl(self._descriptor, _GET_INFO, info)
        except OSError:
            return None  # an older system
        told, status = _INFO.unpack(info)
        return status if told & _ASKS_FOR_EXIT else None

    def _shown(self) -> int | None:
        """What the system shows of a process that ends, or that its parent has not asked for."""
        try:
            if started(self._pid) != self._start:
                return None
            fields = Path(f"/proc/{self._pid}/stat").read_bytes().rpartition(b")")[2].split()
            status = int(fields[_STATUS_FIELD])
        except (OSError, psutil.Error, IndexError, ValueError):
            return None
        # It is 0 as long as the process lives, and for whoever may not know it.
        is_known = status != 0 or (fields[_STATE_FIELD] in _ENDED and _is_ours(self._pid))
        return status if is_known else None


def _descriptor(pid: int, start: str) -> int | None:
    if sys.platform != "linux":
        return None
    try:
        descriptor = os.pidfd_open(pid)
    except (OSError, AttributeError):
        return None
    try:
        if started(pid) == start:
            return descriptor
    except psutil.Error:
        pass
    os.close(descriptor)
    return None


def _is_ours(pid: int) -> bool:
    """Whether a process belongs to the user of this one."""
    try:
        return Path(f"/proc/{pid}").stat().st_uid == os.geteuid()
    except OSError:
        return False
