"""Prepares a process that is a relay and nothing else for many connections and many short-lived objects."""

from __future__ import annotations

import contextlib
import gc
import sys
from typing import Final

_ALLOCATIONS: Final = 50_000
"""Objects between two searches for garbage; Python's own default, made for small heaps, is 700."""
_SWITCH_S: Final = 0.0005
"""How long a thread keeps the interpreter while others want it. Each call of a database gives it up and wants it back.
With Python's own default of 5 ms, a relay of hundreds of runs would spend its time waiting."""


def prepare() -> None:
    """Allow as many open files as the system does, search for garbage less often, and let threads take shorter turns.

    A relay makes thousands of objects a second that wait for others, as readings for those of other ranks. Python would
    search all of them again and again, and all that the clients of trackers have loaded.
    """
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource  # there is none on Windows

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(_ALLOCATIONS)
    sys.setswitchinterval(_SWITCH_S)
