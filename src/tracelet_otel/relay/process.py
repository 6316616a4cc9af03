"""Prepares a process that is a relay and nothing else for many connections and many short-lived objects."""

from __future__ import annotations

import contextlib
import gc
from typing import Final

_ALLOCATIONS: Final = 50_000
"""Objects between two searches for garbage; Python's own default, made for small heaps, is 700."""


def prepare() -> None:
    """Allow as many open files as the system does, and search for garbage less often, and only among new objects.

    A relay makes thousands of objects a second that wait for others, as readings for those of other ranks. Python would
    search all of them again and again, and all that the clients of trackers have loaded.
    """
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource  # there is none on Windows

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    gc.collect()
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS)
