"""Sizes of checkpoints, which may be a file or a directory of several."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def size_of_file(path: str) -> int | None:
    """Size of a file in bytes; None where it is none on this machine. One call of the system."""
    try:
        found = os.stat(path)  # noqa: PTH116  # takes a tenth of what a `Path` takes, on the thread that trains
    except (OSError, ValueError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def size_of_directory(path: str) -> int | None:
    """Size of all files in a directory in bytes, as that of a checkpoint in parts; None where there is no directory."""
    try:
        found = Path(path)
        return sum(file.stat().st_size for file in found.rglob("*") if file.is_file()) if found.is_dir() else None
    except (OSError, ValueError):
        return None
