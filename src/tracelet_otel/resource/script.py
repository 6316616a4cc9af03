"""The running script or notebook, and where its code may be."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tracelet_otel._support.environment import environment

_INSTALLED: Final = ("scripts", "purelib", "platlib")
"""Directories of installed programs, by their names in `sysconfig`."""
_KERNELS: Final = ("ipykernel_launcher", "colab_kernel_launcher")
"""Names of the scripts that run notebooks, without their suffix."""
_UNNAMED_NOTEBOOK: Final = "notebook"
_OF_VSCODE: Final = "__vsc_ipynb_file__"
"""Variable in which VS Code leaves the path of a notebook for the code in it."""
_OF_JUPYTER: Final = "JPY_SESSION_NAME"
"""Environment variable in which Jupyter's server leaves the path of a notebook for its kernel."""


def script_name() -> str:
    """Path of the running script or notebook; `python` where there is none, `notebook` for one of unknown name.

    Arguments are left out: they may hold secrets.
    """
    script = _script()
    if is_notebook():
        return _notebook() or _UNNAMED_NOTEBOOK
    return script if script not in ("", "-c", "-m") else "python"


def is_notebook() -> bool:
    """Whether the code that runs is that of a notebook, in the process of its kernel."""
    return Path(_script()).stem in _KERNELS


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


def _script() -> str:
    return str((getattr(sys, "argv", None) or [""])[0])


def _notebook() -> str:
    """Path of the notebook, from what its editor has left here; no server is asked. Empty where nothing was left."""
    left = str(getattr(sys.modules.get("__main__"), _OF_VSCODE, None) or environment().get(_OF_JUPYTER, ""))
    # A session that was opened without a name has the directory of the notebook instead.
    return "" if Path(left).is_dir() else left
