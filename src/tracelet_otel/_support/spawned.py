"""Whether this process is a copy that `multiprocessing` has made of another one."""

from __future__ import annotations

import multiprocessing
import sys


def is_started_by_multiprocessing() -> bool:
    """Whether it is a worker or rank, by whichever method it was started."""
    return multiprocessing.parent_process() is not None or is_running_main_again()


def is_interpreter_of_multiprocessing() -> bool:
    """Whether this interpreter was started to be a worker or rank, or to start some; known from its first line on."""
    # Source: `multiprocessing.spawn`, `.forkserver` and `.resource_tracker`.
    return any(argument.startswith("from multiprocessing.") for argument in sys.orig_argv)


def is_running_main_again() -> bool:
    """Whether the main module is being run again, to start another process from it."""
    # In other processes this is another name of `__main__`. Source: multiprocessing, "Programming guidelines".
    main = sys.modules.get("__mp_main__")
    return getattr(main, "__name__", "") == "__mp_main__" and multiprocessing.parent_process() is None
