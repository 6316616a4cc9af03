"""Whether files can be written in a directory, told without leaving anything there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

_BYTES: Final = 2**16


def why_not_writable(directory: Path) -> str | None:
    """Why no file can be written in a directory; None where one can.

    A directory that is not there is not made: the one that it would be made in is tried.

    Args:
        directory: an absolute path.
    """
    try:
        there = next(one for one in (directory, *directory.parents) if one.exists())
        # On Linux the file has no name, so that nothing is left even by a process that is killed.
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(bytes(_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.strerror or type(error).__name__
    return None
