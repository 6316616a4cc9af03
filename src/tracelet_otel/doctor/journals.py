"""Checks for journals that no relay delivers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tracelet_otel._support.findings import Finding, Level, problem
from tracelet_otel._support.writable import why_not_writable
from tracelet_otel.doctor.findings import Chapter
from tracelet_otel.doctor.quantities import size
from tracelet_otel.protocol.files import SPOOL_SUFFIX, entry_names
from tracelet_otel.relay.journal import SUFFIX
from tracelet_otel.relay.lock import is_open
from tracelet_otel.relay.replay import journals
from tracelet_otel.settings import Settings

_LITTLE_BYTES: Final = 64 * 2**20
"""A disk with less room is as good as full."""
_FEW: Final = 3
"""So many directories of unsent files are listed one by one."""


@dataclass(frozen=True)
class FoundJournal:
    """A journal in the journal directory."""

    path: str
    size_bytes: int
    """Of all of its files."""
    is_open: bool | None
    """Whether a process has it open; None where that is not known."""
    files: int = 0
    """How many files of the run wait in its spool."""


def check_journals(settings: Settings) -> Chapter:
    """Look for journals in the journal directory, and in that of sidecars, and for room for new ones."""
    directory = settings.journal_dir
    found = [_found(path) for path in journals(directory)] if directory.is_dir() else []
    waiting = [*map(_finding, found), *_unsent(directory)] or [Finding(Level.OK, "there is none, so nothing waits")]
    findings = [*_room(directory), *waiting]
    return Chapter(f"journals in {directory}", findings, facts={"journals": [asdict(one) for one in found]})


def _room(directory: Path) -> Iterator[Finding]:
    mend = "free some of the disk, or name another directory as TRACELET_JOURNAL_DIR"
    why = why_not_writable(directory)
    if why is not None:
        yield problem(f"it cannot be written, so no run can begin: {why}", f"make {directory} writable; {mend}")
        return
    there = next(one for one in (directory, *directory.parents) if one.exists())
    free = shutil.disk_usage(there).free
    if free < _LITTLE_BYTES:
        yield problem(f"its disk has {size(free)} left: runs lose values when it is full", mend)


def _found(path: Path) -> FoundJournal:
    files = [path, path.with_name(f"{path.name}-wal")]
    size_bytes = sum(file.stat().st_size for file in files if file.exists())
    return FoundJournal(str(path), size_bytes, is_open(path), len(entry_names(path.with_suffix(SPOOL_SUFFIX))))


def _unsent(directory: Path) -> list[Finding]:
    """Files of trainings whose relay is elsewhere: each directory of them, or one finding for many."""
    spools = {path: len(entry_names(path)) for path in sorted(directory.glob(f"*{SPOOL_SUFFIX}"))}
    waiting = {path: number for path, number in spools.items() if number and not path.with_suffix(SUFFIX).exists()}
    what = "files that a training sends to a relay elsewhere, or had not sent"
    mend = "record them by hand, and delete the directory, if that training is over"
    if len(waiting) > _FEW:
        where = f"{len(waiting)} directories *{SPOOL_SUFFIX} in {directory}"
        return [Finding(Level.NOTE, f"{where}: {sum(waiting.values())} {what}", mend)]
    return [Finding(Level.NOTE, f"{path}: {number} {what}", mend) for path, number in waiting.items()]


def _finding(journal: FoundJournal) -> Finding:
    waiting = f", {journal.files} files" if journal.files else ""
    what = f"{journal.path} ({size(journal.size_bytes)}{waiting})"
    replay = f"tracelet-otel replay {journal.path}"
    if journal.is_open is None:
        return Finding(Level.NOTE, f"{what}: whether a relay has it open cannot be told", f"{replay}, if none has")
    if journal.is_open:
        return Finding(Level.OK, f"{what}: a relay has it open")
    return Finding(Level.PROBLEM, f"{what}: no relay has it open, and what is in it is not delivered", replay)
