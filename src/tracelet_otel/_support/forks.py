"""What a forked child must not free, since freeing it would change what is its parent's."""

from __future__ import annotations

import ctypes
import os
import weakref
from typing import Any, Final

_kept: Final[weakref.WeakSet[Any]] = weakref.WeakSet()


def keep_in_children(thing: Any) -> None:
    """Never free a forked child's copy of an object, whatever happens there to those who hold it."""
    _kept.add(thing)


def _keep() -> None:
    for thing in _kept:
        # One more owner than there is: also the end of the interpreter frees it not.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep)
