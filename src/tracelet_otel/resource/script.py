"""The running script, and where its code may be."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_INSTALLED: Final = ("scripts", "purelib", "platlib")
"""Directories of installed programs, by their names in `sysconfig`."""


def script_name() -> str:
    """Path of the running script, or `python` where there is none. Arguments are left out: they may hold secrets."""
    script = (getattr(sys, "argv", None) or [""])[0]
    return script if script not in ("", "-c", "-m") else "python"


def code_directories() -> Iterator[Path]:
    """Directories where the code that runs may be: the script's directory, then the working directory.

    The directory of an installed script, such as `pytest` or `torchrun`, is left out: it says nothing of the code that
    the script runs.
    """
    script = Path(script_name()).resolve()
    installed = [Path(sysconfig.get_path(name)).resolve() for name in _INSTALLED]
    if script.is_file() and not any(script.is_relative_to(directory) for directory in installed):
        yield script.parent
    yield Path.cwd()
