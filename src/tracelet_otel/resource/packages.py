"""The packages that are installed where this process runs, in the form of `requirements.txt`."""

from __future__ import annotations

import re
import sys
import threading
from contextlib import suppress
from importlib.metadata import distributions
from pathlib import Path
from typing import Final

_SEPARATORS: Final = re.compile(r"[-_.]+")
_reading: Final = threading.Lock()
_known: Final[dict[tuple[tuple[str, int], ...], str]] = {}
"""The text by the state of the directories that it was read from; of the last state only."""


def installed_packages() -> str:
    """A line `name==version` for each installed package, in alphabetical order.

    Where a package is installed twice, the one counts that an import finds. Nothing is read again as long as the
    directories of packages are as they were.
    """
    with _reading:
        state = _state()
        if state not in _known:
            text = _read()
            _known.clear()
            _known[state] = text
        return _known[state]


def _read() -> str:
    lines: dict[str, str] = {}
    for one in distributions():
        # What a broken installation has left behind has no metadata.
        with suppress(Exception):
            name, version = one.metadata["Name"], one.version
            if name and version:
                lines.setdefault(_SEPARATORS.sub("-", name).lower(), f"{name}=={version}")
    return "".join(f"{lines[key]}\n" for key in sorted(lines))


def _state() -> tuple[tuple[str, int], ...]:
    found = []
    for entry in sys.path:
        with suppress(OSError):
            found.append((entry, Path(entry).stat().st_mtime_ns))
    return tuple(found)
