"""The checkpoints of a training: each that was written or removed becomes an event, and an entry of the spool.

The training thread only notes that a file was written or removed. The rest is done where metrics are collected.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.events import Events
from tracelet_otel.instrumentation.scalars import as_float
from tracelet_otel.instrumentation.spool import SpoolWriter, linked, size_of
from tracelet_otel.protocol.events import Event
from tracelet_otel.protocol.file_names import safe_name
from tracelet_otel.protocol.files import Checkpoint, FileKind, RunFile

OFF: Final = "off"
BEST: Final = "best"
TOP_K: Final = "top_k"
ALL: Final = "all"


class CheckpointNote(NamedTuple):
    """A checkpoint was written or removed. Made on the training thread, so the score may still be a tensor."""

    path: str
    time_unix_nano: int
    is_removed: bool = False
    step: int | None = None
    """The trainer's step."""
    epoch: int | None = None
    monitor: str | None = None
    """Name of the metric by which the callback that has had it written compares checkpoints."""
    score: Any = None
    """Value of that metric."""
    mode: str | None = None
    is_best: bool = False
    is_last: bool = False
    is_top_k: bool = False
    keeper: weakref.ref[Any] | None = None
    """The callback that has had it written; None where somebody else has."""


@dataclass(frozen=True)
class _SavedCheckpoint:
    """A checkpoint that is there."""

    file: RunFile
    entry: str | None
    """Its entry in the spool."""


class Checkpoints:
    """The checkpoints of this process.

    Args:
        meter_provider: where the instrument is created.
        guard: where errors are reported.
        events: where events go.
        spool: where entries go.
        policy: one of this module's constants: which files are uploaded.
    """

    def __init__(
        self, meter_provider: MeterProvider, guard: Guard, events: Events, spool: SpoolWriter, policy: str
    ) -> None:
        self._guard = guard
        self._events = events
        self._spool = spool
        self._policy = policy
        self.notes: deque[CheckpointNote] = deque()
        self._kept: dict[str, _SavedCheckpoint] = {}
        self._names: dict[str, str] = {}
        """Names in the run, by path."""
        self._keepers: list[weakref.ref[Any]] = []
        """All callbacks that have had a checkpoint written."""
        self._saves = 0
        self._taking = threading.RLock()
        """Notes are passed on in their order: a file that is removed was written before."""
        self._pid = os.getpid()
        if policy != OFF:
            meter_provider.get_meter(semconv.SCOPE_RUN).create_observable_counter(
                semconv.CHECKPOINTS,
                callbacks=[self._observe],
                unit=semconv.CHECKPOINTS_UNIT,
                description="Checkpoints that were written",
            )

    @property
    def is_off(self) -> bool:
        """Whether nothing is to be noted."""
        return self._policy == OFF

    def take(self) -> None:
        """Pass on what was noted. Never raises. Thread-safe."""
        if os.getpid() != self._pid:
            # A forked child has a copy of the lock, but not the thread that would release it.
            self._taking, self._pid = threading.RLock(), os.getpid()
        with self._taking:
            while self.notes:
                note = self.notes.popleft()
                try:
                    if note.is_removed:
                        self._removed(note)
                    else:
                        self._written(note)
                except Exception as error:
                    self.report(error)

    def report(self, error: Exception) -> None:
        """Report that a checkpoint was not noted."""
        self._guard.report("a checkpoint was not recorded", error)

    def _observe(self, _options: CallbackOptions) -> Iterable[Observation]:
        self.take()
        return [Observation(self._saves)] if self._saves else []

    def _written(self, note: CheckpointNote) -> None:
        self._saves += 1
        path = Path(note.path)
        known = self._kept.pop(note.path, None)
        if known is not None:
            self._take_back(known)
        checkpoint = replace(_described(note), keeper=self._number_of(note.keeper))
        if note.path not in self._names:
            self._names[note.path] = self._name_of(path)
        name, size = self._names[note.path], size_of(path)
        file = RunFile(name, FileKind.CHECKPOINT, note.time_unix_nano, path.name, size, note.step, checkpoint)
        self._tell(file)
        if self._is_uploaded(checkpoint) and size is not None:
            entry = self._spool.put(file, linked(path))
        else:
            entry = self._spool.put(replace(file, content=None))
        self._kept[note.path] = _SavedCheckpoint(file, entry)
        if self._policy == BEST and checkpoint.is_best:
            self._forget_others(checkpoint, note.time_unix_nano)

    def _removed(self, note: CheckpointNote) -> None:
        known = self._kept.pop(note.path, None)
        if known is not None:
            self._take_back(known)
            gone = _gone(known.file, note.time_unix_nano)
            self._tell(gone)
            self._spool.put(gone)

    def _forget_others(self, best: Checkpoint, time_unix_nano: int) -> None:
        """Where only the best is uploaded, an earlier one leaves the store; what is known of it stays."""
        for path, kept in list(self._kept.items()):
            found = kept.file.checkpoint
            if path != best.path and found is not None and found.is_best and found.keeper == best.keeper:
                self._take_back(kept)
                self._spool.put(_gone(kept.file, time_unix_nano))
                lesser = replace(kept.file, content=None, checkpoint=replace(found, is_best=False, is_last=False))
                self._kept[path] = _SavedCheckpoint(lesser, self._spool.put(lesser))

    def _take_back(self, kept: _SavedCheckpoint) -> None:
        if kept.entry is not None:
            self._spool.discard(kept.entry)

    def _number_of(self, keeper: weakref.ref[Any] | None) -> int | None:
        if keeper is None:
            return None
        # A callback has one reference as long as it lives, and no other one has the same.
        if not any(one is keeper for one in self._keepers):
            self._keepers.append(keeper)
        return next(number for number, one in enumerate(self._keepers) if one is keeper)

    def _is_uploaded(self, checkpoint: Checkpoint) -> bool:
        if self._policy == ALL:
            return True
        if self._policy == TOP_K:
            return checkpoint.is_top_k or checkpoint.is_best or checkpoint.is_last
        return self._policy == BEST and checkpoint.is_best

    def _name_of(self, path: Path) -> str:
        """A name that no other checkpoint has: of two trainings, each may have written a file of one name."""
        name, used = safe_name(path.name), set(self._names.values())
        if name in used:
            name = safe_name(f"{path.parent.name}/{path.name}")
        number = 2
        while name in used:
            name = safe_name(f"{path.parent.name}-{number}/{path.name}")
            number += 1
        return name

    def _tell(self, file: RunFile) -> None:
        found = file.checkpoint
        assert found is not None  # noqa: S101
        facts = {
            semconv.FILE_NAME: file.name,
            semconv.FILE_PATH: found.path,
            semconv.FILE_SIZE: file.size,
            semconv.CHECKPOINT_STEP: file.step,
            semconv.EPOCH: found.epoch,
            semconv.CHECKPOINT_MONITOR: found.monitor,
            semconv.CHECKPOINT_SCORE: found.score,
            semconv.CHECKPOINT_MODE: found.mode,
            semconv.CHECKPOINT_IS_BEST: found.is_best,
            semconv.CHECKPOINT_IS_LAST: found.is_last,
            semconv.CHECKPOINT_IS_TOP_K: found.is_top_k,
        }
        known = {name: value for name, value in facts.items() if value is not None}
        name = semconv.EVENT_CHECKPOINT_REMOVED if found.is_removed else semconv.EVENT_CHECKPOINT_SAVED
        verb = "removed" if found.is_removed else "saved"
        self._events.emit(Event(name, file.time_unix_nano, f"checkpoint {verb}: {found.path}", known))


def note_of(path: Any, keepers: Iterable[Any], step: int | None, epoch: int | None) -> CheckpointNote:
    """Describe a checkpoint that is about to be written; called on the training thread.

    Lightning's callback decides what is best, and which files go, before it has a file written.

    Args:
        path: the file or directory.
        keepers: the callbacks of the trainer that keep checkpoints.
        step: the trainer's step.
        epoch: the trainer's epoch.
    """
    text = os.fspath(path)
    note = CheckpointNote(absolute(text), time.time_ns(), step=step, epoch=epoch)
    for keeper in keepers:
        scores = getattr(keeper, "best_k_models", None) or {}
        best, last = (getattr(keeper, name, "") for name in ("best_model_path", "last_model_path"))
        if text in scores or text in (best, last):
            # Where it writes a file of its own for the last one, that is the last; otherwise the newest is.
            has_own_last = getattr(keeper, "save_last", None) is True
            return note._replace(
                monitor=getattr(keeper, "monitor", None),
                score=scores.get(text),
                mode=getattr(keeper, "mode", None),
                is_best=text == best,
                is_last=text == last or not has_own_last,
                is_top_k=text in scores,
                keeper=weakref.ref(keeper),
            )
    return note


def absolute(path: str) -> str:
    """A path that means the same in any working directory; an address stays what it is."""
    return path if "://" in path else os.path.abspath(path)  # noqa: PTH100  # `Path` would take out `..`, not resolve it


def _described(note: CheckpointNote) -> Checkpoint:
    return Checkpoint(
        note.path,
        epoch=note.epoch,
        monitor=note.monitor,
        score=None if note.score is None else as_float(note.score),
        mode=note.mode if note.monitor is not None else None,
        is_best=note.is_best,
        is_last=note.is_last,
        is_top_k=note.is_top_k,
    )


def _gone(file: RunFile, time_unix_nano: int) -> RunFile:
    assert file.checkpoint is not None  # noqa: S101
    checkpoint = replace(file.checkpoint, is_removed=True, is_best=False, is_last=False, is_top_k=False)
    return replace(file, content=None, time_unix_nano=time_unix_nano, checkpoint=checkpoint)
