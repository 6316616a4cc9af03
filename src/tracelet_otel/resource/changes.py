"""Whether tracked files differ from the revision, as `git describe --dirty` has it."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from tracelet_otel.resource.repository import Repository
from tracelet_otel.resource.worktree import Entry, has_other_content, has_other_kind, is_untouched

_ASSUME_VALID: Final = 0x8000
"""Bit of an entry's flags: git does not look at the file."""
_SKIP_WORKTREE: Final = 0x4000
"""The same, in the flags that later versions of the index have."""
_CONFLICT: Final = 0x3000
"""Bits that number the sides of a conflict; 0 where there is none."""
_SUBMODULE: Final = 0o160000
"""The mode of a directory that is another repository."""


def is_changed(repository: Repository, deadline_s: float) -> bool | None:
    """Whether any tracked file differs, in the index or in the working tree; None where it is not known.

    Ends at the first difference.

    Args:
        repository: one with a commit.
        deadline_s: until when it may take, by the monotonic clock.
    """
    index = repository.index()
    if index is None:
        return None
    entries: dict[bytes, Entry] = {}
    for path, entry in index:
        if entry.flags & _CONFLICT:
            return True
        # A directory stands for all of its files: then none of them are in the working tree.
        if stat.S_ISDIR(entry.mode) or time.monotonic() > deadline_s:
            return None
        entries[path] = entry
    staged = _is_staged(repository, entries, deadline_s)
    return _Files(repository, index.time_ns, deadline_s).differ(entries) if staged is False else staged


def _is_staged(repository: Repository, entries: Mapping[bytes, Entry], deadline_s: float) -> bool | None:
    number = 0
    for path, mode, sha in repository.committed():
        if time.monotonic() > deadline_s:
            return None
        entry = entries.get(path)
        if entry is None or entry.sha != sha or _kind(entry.mode) != _kind(mode):
            return True
        number += 1
    return number != len(entries)


def _kind(mode: int) -> tuple[int, bool]:
    # Of permissions git knows one, and has kept others in early days.
    return stat.S_IFMT(mode), stat.S_ISREG(mode) and bool(mode & stat.S_IXUSR)


class _Files:
    """The files of a working tree, beside what the index has of them."""

    def __init__(self, repository: Repository, index_time_ns: int, deadline_s: float) -> None:
        self._repository = repository
        self._index_time_ns = index_time_ns
        self._deadline_s = deadline_s
        self._root = repository.root.rstrip(os.sep)
        self._directories = {self._root: True}
        self._knows_links = repository.says(b"symlinks")
        self._knows_modes = repository.says(b"filemode")

    def differ(self, entries: Mapping[bytes, Entry]) -> bool | None:
        """Whether any of them does; None where it is not known."""
        known = True
        for path, entry in entries.items():
            if time.monotonic() > self._deadline_s:
                return None
            if entry.flags & _ASSUME_VALID or entry.extended_flags & _SKIP_WORKTREE:
                continue
            differs = self._differs(path, entry)
            if differs:
                return True
            known = known and differs is not None
        return False if known else None

    def _differs(self, path: bytes, entry: Entry) -> bool | None:
        file = f"{self._root}/{os.fsdecode(path)}"
        try:
            found = os.lstat(file)
        except (FileNotFoundError, NotADirectoryError):
            return True
        if not self._is_directory(file.rpartition("/")[0]):
            return True
        if stat.S_IFMT(entry.mode) == _SUBMODULE and stat.S_ISDIR(found.st_mode):
            return self._submodule_differs(Path(file), entry)
        if has_other_kind(entry, found, knows_links=self._knows_links, knows_modes=self._knows_modes):
            return True
        if is_untouched(entry, found, self._index_time_ns):
            return False
        return None if self._repository.converts(path) else has_other_content(entry, Path(file), found)

    def _is_directory(self, path: str) -> bool:
        """Whether a directory is one of the working tree, and no link that took its place."""
        if path not in self._directories:
            parent = path.rpartition("/")[0]
            self._directories[path] = stat.S_ISDIR(os.lstat(path).st_mode) and self._is_directory(parent)
        return self._directories[path]

    def _submodule_differs(self, path: Path, entry: Entry) -> bool | None:
        submodule = Repository.at(path)
        if submodule is None:
            return False
        with closing(submodule):
            if submodule.head()[0] != entry.sha:
                return True
            return is_changed(submodule, self._deadline_s)
