"""What a forked child must not free, since that would change what is its parent's, and locks that it finds free."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import weakref
from typing import Any, Final

_kept: Final[weakref.WeakSet[Any]] = weakref.WeakSet()


def keep_in_children(thing: Any) -> None:
    """Never free a forked child's copy of an object, whatever happens there to those who hold it."""
    _kept.add(thing)


class ProcessLock:
    """A reentrant lock. In a forked child it is free, whichever thread of the parent has held it."""

    def __init__(self) -> None:
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        # A child that was forked in the block does not hold the lock.
        with contextlib.suppress(RuntimeError):
            self._lock.release()


def _keep() -> None:
    for thing in _kept:
        # One more owner than there is: also the end of the interpreter frees it not.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep)
