"""Tells whether a process has a journal open, without opening it as a database."""

from __future__ import annotations

import os
import sys
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
