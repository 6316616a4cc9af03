"""Puts files of the run into its spool, from which the relay takes them (`protocol.files`)."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.tracing.files import size_of_directory, size_of_file
from tracelet_otel.protocol.files import Make, RunFile, check_room, put_entry, remove_entry


class KnowsSpool(Protocol):
    """The role of this process in its run, as far as the spool is concerned."""

    @property
    def run_id(self) -> str:
        """The run's id; empty as long as it is not known."""
        ...

    @property
    def spool(self) -> Path | None:
        """The spool of the run, once its id is known; None where no relay on this machine takes files."""
        ...


class SpoolWriter:
    """The spool of the run, as this process sees it. Thread-safe; in a forked child it does nothing.

    Until the run is found, entries are made in a directory of their own, beside the journals.

    Args:
        directory: the directory of the journals; None where no relay will ever take files.
        guard: where entries that cannot be made are reported.
    """

    def __init__(self, directory: Path | None, guard: Guard) -> None:
        self._directory = directory
        self._guard = guard
        self._lock = threading.RLock()
        self._role: KnowsSpool | None = None
        self._spool: Path | None = None
        self._early: Path | None = None
        """Where entries are as long as the run is not known."""
        self._on_entry: Callable[[], object] = lambda: None
        self._pid = os.getpid()

    def open(self, role: KnowsSpool, on_entry: Callable[[], object] = lambda: None) -> None:
        """Put entries from now on where the role of this process says, also those that were made before.

        Args:
            role: the role.
            on_entry: called when there are new entries in the spool.
        """
        with self._lock:
            self._role, self._on_entry = role, on_entry
            self.find()

    @property
    def takes_files(self) -> bool:
        """Whether entries come to a relay, or may do so once the run is found."""
        with self._lock:
            self.find()
            return self._directory is not None

    def put(self, file: RunFile, make: Make | None = None) -> str | None:
        """Put a file into the spool.

        Args:
            file: what it is.
            make: makes its content; None where there is only the fact.

        Returns:
            Name of the entry; None where nobody takes it.

        Raises:
            Exception: what `make` raises. Then there is no entry.
        """
        if os.getpid() != self._pid:
            return None
        with self._lock:
            self.find()
            place = self._spool or self._place_before()
            if place is None:
                if make is not None:
                    reason = "there is no relay that takes files"
                    self._guard.report("files are not recorded", reason)
                return None
            name = put_entry(place, file, make)
            if self._spool is not None:
                self._on_entry()
            return name

    def discard(self, name: str) -> None:
        """Remove an entry, because something newer has taken its place. A relay may have taken it by now."""
        with self._lock:
            for place in (self._spool, self._early):
                if place is not None:
                    remove_entry(place, name)

    def close(self) -> None:
        """Take no more. What was made for a run that is not found by now is reported, and removed."""
        with self._lock:
            self.find()
            if self._early is not None:
                self._guard.report("files are not recorded", "the run was not found")
                shutil.rmtree(self._early, ignore_errors=True)
                self._early = None
            self._directory = self._spool = None

    def find(self) -> None:
        """Move what was made before the run was found to its spool, if it is found by now."""
        with self._lock:
            self._move()

    def _move(self) -> None:
        if self._spool is not None or self._directory is None or self._role is None or not self._role.run_id:
            return
        early, self._early = self._early, None
        self._spool = self._role.spool
        if self._spool is None:
            self._directory = None
        else:
            with self._reported():
                self._spool.mkdir(mode=0o700, parents=True, exist_ok=True)
                for entry in sorted(early.iterdir()) if early is not None else ():
                    entry.rename(self._spool / entry.name)
                self._on_entry()
        if early is not None:
            shutil.rmtree(early, ignore_errors=True)

    def _place_before(self) -> Path | None:
        if self._early is None and self._directory is not None:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._early = Path(tempfile.mkdtemp(prefix=".files-", dir=self._directory))
        return self._early

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._guard.report("a file was not recorded", error)


def linked(source: Path) -> Make:
    """The content is a file or directory that stays what it is: a checkpoint.

    It is linked where the file system allows that, which takes no room and no time, and outlives a removal. Elsewhere
    the entry refers to it, as long as it is there.
    """

    def link(found: Path, target: Path) -> None:
        try:
            os.link(found, target)
        except OSError:
            # On another file system, or on one without links.
            target.symlink_to(found)

    return lambda target: _each(source, target, link)


def copied(source: Path, longest_copy: int) -> Make:
    """The content is a copy of a file or directory, which may change or be removed afterwards.

    A copy that leaves too little room on the disk is not made, which raises an `OSError`. A link needs no room.

    Args:
        source: the file or directory.
        longest_copy: a file that has more bytes is linked where the file system allows that, as a copy takes long.
    """

    def take(found: Path, target: Path) -> None:
        size = found.stat().st_size
        if size > longest_copy:
            with contextlib.suppress(OSError):
                os.link(found, target)
                return
        check_room(target.parent, size)
        shutil.copyfile(found, target)

    return lambda target: _each(source, target, take)


def size_of(path: Path) -> int | None:
    """Size of a file, or of all files in a directory, in bytes; None where it is neither."""
    size = size_of_file(str(path))
    return size_of_directory(str(path)) if size is None else size


def _each(source: Path, target: Path, take: Callable[[Path, Path], None]) -> None:
    """Make a file, or each file of a directory; links to directories are not followed, which may lead in a circle.

    The spool itself is left out where it is in that directory: what is made would be found there, and made again.
    """
    source = source.resolve(strict=True)
    if not source.is_dir():
        if not stat.S_ISREG(source.stat().st_mode):
            raise OSError(f"{source} is neither a file nor a directory")
        take(source, target)
        return
    target.mkdir(mode=0o700)
    spool = target.parents[2].resolve()
    for folder, folders, names in os.walk(source):
        place = target / Path(folder).relative_to(source)
        folders[:] = [name for name in folders if Path(folder, name) != spool]
        for name in folders:
            if not Path(folder, name).is_symlink():
                (place / name).mkdir(mode=0o700)
        for name in names:
            found = Path(folder, name).resolve()
            if found.is_file():
                take(found, place / name)
