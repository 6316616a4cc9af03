"""Tells a file that a tracker does not take from a tracker that takes no files at the moment.

Both look the same: a server that answers 500, or not in time. A tracker that takes another file of the same kind
meanwhile is there, so the file is to blame. The kind matters, because a tracker may keep pictures and checkpoints in
different places, of which one may be away.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tracelet_otel.protocol.files import FileKind, RunFile

_TRIES: Final = 15
"""So often a file is tried that is to blame, before it counts as refused: for eight minutes, while a run goes on."""
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 60.0


@dataclass
class Miss:
    """An entry that was tried, and is not taken."""

    file: RunFile
    reason: str = ""
    """Why, at the last time."""
    count: int = 0
    """How often it was tried."""
    tries: int | None = None
    """How often since the tracker has taken another file of its kind; None where it has taken none."""
    has_newer_best: bool = False
    """Whether a later checkpoint of the same callback has been stored as the best one."""
    has_newer_last: bool = False

    @property
    def pause_s(self) -> float:
        """Seconds until it is tried again, where it is to blame."""
        return float(min(_FIRST_PAUSE_S * 2 ** min(self.tries or 0, 10), _LONGEST_PAUSE_S))


class Misses:
    """The entries that one tracker has not taken. Not thread-safe."""

    def __init__(self) -> None:
        self._by_name: dict[str, Miss] = {}
        self._away: set[FileKind] = set()
        """Kinds of which nothing was taken since one was not that may not be to blame."""

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def counts(self) -> dict[str, int]:
        """How often each was tried."""
        return {name: miss.count for name, miss in self._by_name.items()}

    def next_of(self, waiting: Sequence[str], read: Callable[[str], RunFile | None]) -> str:
        """The entry that is to be tried next: the oldest one that was not tried yet, or that was tried least often.

        What goes to the place of an older one waits for that: versions of a file, a checkpoint and its removal, lines.

        Args:
            waiting: names of all entries that wait, oldest first.
            read: returns what an entry is; None where it cannot be read.
        """
        tried = (name for name in waiting if name in self._by_name and not self._has_to_wait(name, read))
        fresh = self._fresh(waiting, read)
        return fresh or min(tried, key=lambda name: (self._by_name[name].count, name))

    def refused(self, name: str) -> Miss | None:
        """An entry that is not to be tried any more; None where it is."""
        miss = self._by_name.get(name)
        return None if miss is None or (miss.tries or 0) < _TRIES else miss

    def add(self, name: str, file: RunFile, reason: str) -> Miss:
        """Take note that an entry was not taken, and why."""
        miss = self._by_name.setdefault(name, Miss(file))
        miss.count, miss.reason = miss.count + 1, reason
        if miss.tries is None:
            self._away.add(file.kind)
        elif file.kind not in self._away:
            miss.tries += 1
        return miss

    def taken(self, name: str, file: RunFile) -> None:
        """Take note that the tracker has stored an entry."""
        self._away.discard(file.kind)
        self._by_name.pop(name, None)
        for other, miss in self._by_name.items():
            if file.content is not None and miss.file.kind is file.kind and miss.tries is None:
                miss.tries = 0
            if other < name and _keeper(file) is not None and _keeper(file) == _keeper(miss.file):
                assert file.checkpoint is not None  # noqa: S101
                miss.has_newer_best |= file.checkpoint.is_best
                miss.has_newer_last |= file.checkpoint.is_last

    def remove(self, name: str) -> None:
        """Forget an entry that does not wait any more."""
        self._by_name.pop(name, None)

    def as_it_is_now(self, name: str, file: RunFile) -> RunFile:
        """What an entry is: a checkpoint is neither the best nor the last one any more where a later one was stored."""
        miss = self._by_name.get(name)
        found = file.checkpoint
        if miss is None or found is None:
            return file
        best, last = found.is_best and not miss.has_newer_best, found.is_last and not miss.has_newer_last
        return replace(file, checkpoint=replace(found, is_best=best, is_last=last))

    def has_fresh(self, waiting: Sequence[str], read: Callable[[str], RunFile | None]) -> bool:
        """Whether an entry waits that was not tried yet, and has to wait for none."""
        return self._fresh(waiting, read) is not None

    def _fresh(self, waiting: Sequence[str], read: Callable[[str], RunFile | None]) -> str | None:
        fresh = (name for name in waiting if name not in self._by_name and not self._has_to_wait(name, read))
        return next(fresh, None)

    def _has_to_wait(self, name: str, read: Callable[[str], RunFile | None]) -> bool:
        older = [miss.file for other, miss in self._by_name.items() if other < name]
        file = read(name) if older else None
        return file is not None and any(_place(file) == _place(one) for one in older)


def _place(file: RunFile) -> Hashable:
    return file.checkpoint.path if file.checkpoint is not None else (file.kind is FileKind.CONSOLE, file.path)


def _keeper(file: RunFile) -> tuple[int | None] | None:
    """Which callback keeps a checkpoint; None where it is no checkpoint, or is one that was removed."""
    return None if file.checkpoint is None or file.checkpoint.is_removed else (file.checkpoint.keeper,)
