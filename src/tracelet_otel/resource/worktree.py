"""Whether one file of a working tree is what git's index has of it."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Any, Final, Protocol

_BITS: Final = 0xFFFFFFFF
"""Numbers in the index have 32 bits."""
_MOST_BYTES: Final = 64 * 2**20
"""A larger file is not read."""


class Entry(Protocol):
    """What the index has of a file; dulwich's type of it is wider."""

    ctime: Any
    mtime: Any
    ino: int
    mode: int
    size: int
    flags: int
    extended_flags: int

    @property
    def sha(self) -> bytes:
        """Its id, in hexadecimal digits."""
        ...


def is_untouched(entry: Entry, found: os.stat_result, index_time_ns: int) -> bool:
    """Whether a file is the one that the index was written of, as far as its directory tells.

    Args:
        entry: what the index has of it.
        found: what the directory has of it.
        index_time_ns: when the index was written. A file may have changed within the same tick of the
            clock after that, unseen.
    """
    seconds, nanoseconds = entry.mtime
    index_time = divmod(index_time_ns, 10**9) if nanoseconds else (index_time_ns // 10**9, 0)
    return (
        (seconds, nanoseconds) < index_time
        and entry.size == found.st_size & _BITS
        and entry.ino in (0, found.st_ino & _BITS)
        and _is_time(entry.mtime, found.st_mtime_ns)
        and (entry.ctime == (0, 0) or _is_time(entry.ctime, found.st_ctime_ns))
    )


def has_other_kind(entry: Entry, found: os.stat_result, *, knows_links: bool, knows_modes: bool) -> bool:
    """Whether a file is of another kind than in the index: a link, a directory, or executable.

    Args:
        entry: what the index has of it.
        found: what the directory has of it.
        knows_links: whether the file system has links; otherwise they are files there.
        knows_modes: whether the file system knows what is executable.
    """
    wanted, actual = entry.mode, found.st_mode
    if stat.S_ISLNK(wanted) and not knows_links:
        return not stat.S_ISREG(actual)
    if stat.S_IFMT(wanted) != stat.S_IFMT(actual):
        return True
    return knows_modes and stat.S_ISREG(wanted) and bool(wanted & stat.S_IXUSR) != bool(actual & stat.S_IXUSR)


def has_other_content(entry: Entry, path: Path, found: os.stat_result) -> bool | None:
    """Whether a file's content differs from what the index has of it; None where only git itself could tell.

    That is for a file which is very large, and for one which differs by the ends of its lines: those may have
    been changed by git.
    """
    if stat.S_ISLNK(found.st_mode):
        return _id_of(os.fsencode(path.readlink())) != entry.sha
    if found.st_size > _MOST_BYTES:
        return None
    content = path.read_bytes()
    if _id_of(content) == entry.sha:
        return False
    return None if _id_of(content.replace(b"\r\n", b"\n")) == entry.sha else True


def _id_of(content: bytes) -> bytes:
    made = hashlib.sha1(b"blob %d\0" % len(content), usedforsecurity=False)
    made.update(content)
    return made.hexdigest().encode()


def _is_time(recorded: tuple[int, int], found_ns: int) -> bool:
    seconds, nanoseconds = divmod(found_ns, 10**9)
    return recorded[0] == seconds & _BITS and recorded[1] in (0, nanoseconds)
