"""Writes to the user's terminal."""

from __future__ import annotations

import sys


def show(text: str) -> None:
    """Write lines to standard error where that is a terminal; nothing otherwise, as in the log file of a job.

    Args:
        text: what to write; nothing is written for an empty text.
    """
    if text and is_terminal():
        print(text, file=sys.stderr, flush=True)  # noqa: T201


def is_terminal() -> bool:
    """Whether standard error is a terminal at this moment."""
    try:
        return sys.stderr is not None and sys.stderr.isatty()
    except ValueError:  # it is closed
        return False
