"""The file in which a process leaves its stack when a fatal signal ends it; the relay reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

SUFFIX: Final = ".fault"
"""End of the names of these files."""


def fault_file(directory: Path, pid: int, start: str) -> Path:
    """The file of a process. Each process has one of its own, so that nobody takes one's stack for another's.

    Args:
        directory: the directory of the journals.
        pid: pid of the process.
        start: what `processes.started` returns for it, since a pid may be used again.
    """
    return directory / f"{pid}-{quote(start, safe='')}{SUFFIX}"


def process_of_file(path: Path) -> tuple[int, str]:
    """Pid and start of the process whose file this is.

    Raises:
        ValueError: it is not such a file.
    """
    pid, _, start = path.name.removesuffix(SUFFIX).partition("-")
    return int(pid), unquote(start)
