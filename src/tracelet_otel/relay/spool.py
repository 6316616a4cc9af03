"""The spool of a run as its relay reads it: entries, and which tracker is done with each (`protocol.files`)."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Final

from tracelet_otel.protocol.files import RunFile, SpoolEntry, entry_names, read_entry, remove_entry

_DONE: Final = ".done-"
"""Beginning of the name of an empty file in an entry, which says that a tracker is done with it."""


class Spool:
    """A spool, from which entries are removed once each tracker is done with them. Thread-safe.

    Args:
        directory: the directory into which the training puts entries. Where it is missing, there are none.
    """

    def __init__(self, directory: Path) -> None:
        self.directory: Final = directory
        self._lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        """Names of all entries, in the order in which they were made."""
        return entry_names(self.directory)

    def read(self, name: str) -> SpoolEntry:
        """Read an entry.

        Raises:
            OSError: it is not there any more, or cannot be read.
            ValueError: it is no entry.
        """
        return read_entry(self.directory / name)

    def file_of(self, name: str) -> RunFile | None:
        """What an entry is; None where it cannot be read."""
        try:
            return self.read(name).file
        except (OSError, ValueError):
            return None

    def is_own(self, name: str) -> bool:
        """Whether an entry was recorded by the run itself, and not by the user."""
        file = self.file_of(name)
        return file is not None and file.is_own

    def is_done(self, name: str, tracker: str) -> bool:
        """Whether a tracker is done with an entry."""
        return (self.directory / name / f"{_DONE}{tracker}").exists()

    def mark(self, name: str, tracker: str, trackers: Collection[str]) -> None:
        """Take note that a tracker is done with an entry.

        Args:
            name: name of the entry.
            tracker: name of the tracker.
            trackers: names of all trackers that get it; once all are done with it, it is removed.
        """
        entry = self.directory / name
        with self._lock, contextlib.suppress(FileNotFoundError, NotADirectoryError):
            (entry / f"{_DONE}{tracker}").touch()
            if all((entry / f"{_DONE}{one}").exists() for one in trackers):
                self.remove(name)

    def remove(self, name: str) -> None:
        """Remove an entry."""
        remove_entry(self.directory, name)

    def close(self) -> list[str]:
        """Remove the directory if it has no entry; what was never finished in it goes with it.

        Returns:
            Names of the entries that are left.
        """
        left = self.names
        if not left and self.directory.is_dir():
            shutil.rmtree(self.directory, ignore_errors=True)
        return left
