"""The interface of a tracker that also takes the files of a run: checkpoints, pictures, tables and others."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from tracelet_otel.protocol.files import RunFile
from tracelet_otel.protocol.run_identity import RunIdentity

NO_PATH: Final = frozenset((errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EINVAL))
"""Errors of a system with a path that no file can have, now or later."""


class FileWriter(Protocol):
    """Writes files of one run to a tracker. All calls come from one thread, and each may block.

    Errors mean what they mean for a `Tracker`: what is unavailable is tried again, everything else is final. What was
    written may be written again, by a relay that follows one that was killed.
    """

    def open(self, run: RunIdentity) -> None:
        """Find the run, which the tracker has created or will create.

        Raises:
            TrackerUnavailableError: there is no such run yet.
        """
        ...

    def write(self, file: RunFile, content: Path | None) -> None:
        """Store a file, or what is known of a checkpoint. Storing the same again changes nothing.

        Args:
            file: what it is. A checkpoint that was removed is to be removed from the store, as far as it is there.
            content: the file or directory, which is there until this returns; None where there is only the fact.

        Raises:
            FileNotFoundError: the content is gone. For a checkpoint this is no error: the training has removed it.
        """
        ...


@runtime_checkable
class TakesFiles(Protocol):
    """A `Tracker` that takes files."""

    def file_writer(self) -> FileWriter:
        """Make what writes them. It is used by another thread than the tracker."""
        ...


@contextlib.contextmanager
def told_where_gone(content: Path | None) -> Iterator[None]:
    """Tell apart from all other errors that a content is gone, or a part of a directory, before or while it is written.

    Args:
        content: the file or directory; None where there is none.

    Raises:
        FileNotFoundError: it is gone.
    """
    _check_there(content)
    try:
        yield
    except Exception:
        _check_there(content)
        raise


def _check_there(content: Path | None) -> None:
    # What is in a directory may be links to another file system, which outlive the files.
    gone = None if content is None else next((one for one in (content, *content.rglob("*")) if not one.exists()), None)
    if gone is not None:
        raise FileNotFoundError(f"{gone} is not there any more")
