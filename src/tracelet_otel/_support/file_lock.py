"""A lock between processes, which is a file as long as somebody holds it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold a lock, after waiting for whoever holds it. On Windows nothing is held.

    Args:
        path: the file, which is removed afterwards.

    Raises:
        OSError: it cannot be made or locked.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    descriptor = _locked(path)
    try:
        yield
    finally:
        # Removed while it is still held: whoever waits for it finds that it is not the file of that name any more.
        path.unlink(missing_ok=True)
        # A child that was forked meanwhile has the descriptor too: closing ours alone would leave the lock with it.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _locked(path: Path) -> int:
    """Open a file and lock it; the file is still there under its name then."""
    import fcntl

    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat(follow_symlinks=False)):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
