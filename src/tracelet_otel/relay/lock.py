"""Tells whether a process has a journal open, without opening it as a database."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from pathlib import Path
from typing import Final

# Source: SQLite, "Database File Format", and its `os.h`: who has a database for itself alone has locked these bytes.
_FIRST_SHARED_BYTE: Final = 0x40000002
_SHARED_BYTES: Final = 510


def is_open(path: Path) -> bool | None:
    """Whether another process has a journal open, for a journal that this process has not.

    Nothing is written. Not for a process that has the journal open itself: when a process closes any descriptor of a
    file, POSIX drops all locks that it has on that file.

    Returns:
        None where it cannot be told: there are no such locks on Windows, or the file cannot be read.
    """
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB, _SHARED_BYTES, _FIRST_SHARED_BYTE)
    except (BlockingIOError, PermissionError):
        return True
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return False


class Claim:
    """Says that this process has a journal open, until it is released or nobody has it any more."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # A forked child has copies of its parent's.
        self._pid = os.getpid()

    @property
    def is_ours(self) -> bool:
        """Whether this process has made it."""
        return self._pid == os.getpid()

    def release(self) -> None:
        """Let the journal be opened again."""
        with _claiming:
            if _claims.get(self._path) is self:
                del _claims[self._path]


_claims: weakref.WeakValueDictionary[Path, Claim] = weakref.WeakValueDictionary()
_claiming = threading.Lock()


def claim(path: Path) -> Claim | None:
    """Claim a journal before it is opened; None where this process has it open.

    That one must not even be tried: closing any descriptor of it would drop the lock.
    """
    with _claiming:
        before = _claims.get(path)
        if before is not None and before.is_ours:
            return None
        made = _claims[path] = Claim(path)
        return made
