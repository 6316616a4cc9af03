"""Whether this process was started by `multiprocessing`."""

from __future__ import annotations

import multiprocessing
import sys


def is_started_by_multiprocessing() -> bool:
    """Whether this process is a worker or rank of `multiprocessing`, whatever the start method."""
    return multiprocessing.parent_process() is not None or is_running_main_again()


def is_interpreter_of_multiprocessing() -> bool:
    """Whether this interpreter was started as a worker or rank, or to start some; known as soon as it has started."""
    # Source: `multiprocessing.spawn`, `.forkserver` and `.resource_tracker`.
    return any(argument.startswith("from multiprocessing.") for argument in sys.orig_argv)


def is_running_main_again() -> bool:
    """Whether `multiprocessing` is running the main module again in this process, to prepare a worker or rank."""
    # In other processes this name refers to the module `__main__`. Source: multiprocessing, "Programming guidelines".
    main = sys.modules.get("__mp_main__")
    return getattr(main, "__name__", "") == "__mp_main__" and multiprocessing.parent_process() is None
