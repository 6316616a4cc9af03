"""The running script, and where its code may be."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_INSTALLED: Final = ("scripts", "purelib", "platlib")
"""Where programs are that somebody has installed, by the names of `sysconfig`."""


def script_name() -> str:
    """The running script without its arguments, which may hold secrets; `python` where there is none."""
    script = (getattr(sys, "argv", None) or [""])[0]
    return script if script not in ("", "-c", "-m") else "python"


def code_directories() -> Iterator[Path]:
    """Where the code that runs may be: the script's directory, then the working directory.

    A script that was installed, as `pytest` or `torchrun`, says nothing of the code that it runs.
    """
    script = Path(script_name()).resolve()
    installed = [Path(sysconfig.get_path(name)).resolve() for name in _INSTALLED]
    if script.is_file() and not any(script.is_relative_to(directory) for directory in installed):
        yield script.parent
    yield Path.cwd()
