"""Notes each checkpoint that a trainer writes or removes, once it is really written, by whatever strategy.

Every checkpoint comes by `Trainer.save_checkpoint` and goes by `Strategy.remove_checkpoint`, also where the trainer has
no logger. Loggers are told of a file before an asynchronous writer has written it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from time import time_ns
from typing import Any

from tracelet_otel import semconv
from tracelet_otel._support.private_names import WRITES_LATER
from tracelet_otel.instrumentation.checkpoints import CheckpointNote, Checkpoints, absolute, note_of
from tracelet_otel.instrumentation.lightning.replaced import Replaced, Replacement
from tracelet_otel.instrumentation.tracing.notes import SpanNotes


class WatchedCheckpoints:
    """The checkpoints of a trainer that is running, until `end`.

    Args:
        trainer: the trainer, in the process in which it runs.
        checkpoints: where they are noted.
        spans: where the time that each save takes is noted; None where that is not measured.
        step_of: returns a trainer's step, as it is passed to loggers.
    """

    def __init__(
        self, trainer: Any, checkpoints: Checkpoints, spans: SpanNotes | None, step_of: Callable[[Any], int]
    ) -> None:
        self._trainer = trainer
        self._checkpoints = checkpoints
        self._step_of = step_of
        self.spans = spans
        self._replaced = Replaced()
        self._unwritten: dict[str, CheckpointNote] = {}
        """Checkpoints that a thread is writing, by path."""
        strategy = trainer.strategy
        self._replaced.replace(trainer, "save_checkpoint", lambda method: _Saves(method, self))
        if not checkpoints.is_off and trainer.is_global_zero:
            self._replaced.replace(strategy, "remove_checkpoint", lambda method: _Removes(method, self))
            if _writes_later(strategy):
                self._replaced.replace(_writer(strategy), "save_checkpoint", lambda method: _Writes(method, self))

    def end(self) -> None:
        """Take away what was set, and note what was written by other means than those that were watched."""
        self._replaced.undo()
        for path, note in self._unwritten.items():
            if Path(path).exists():
                self._checkpoints.notes.append(note)
        self._unwritten.clear()

    @property
    def writes_later(self) -> bool:
        """Whether a file is not written yet when `save_checkpoint` returns."""
        return _writes_later(self._trainer.strategy)

    def describe(self, path: Any) -> CheckpointNote | None:
        """Describe a file before it is written; None where that is not to be noted. Never raises."""
        try:
            if self._checkpoints.is_off or not self._trainer.is_global_zero:
                return None
            trainer = self._trainer
            note = note_of(path, trainer.checkpoint_callbacks, self._step_of(trainer), trainer.current_epoch)
        except Exception as error:
            self._checkpoints.report(error)
            return None
        if self.writes_later:
            self._unwritten[note.path] = note
            return None
        return note

    def written(self, note: CheckpointNote | None) -> None:
        """A file was written."""
        if note is not None:
            self._checkpoints.notes.append(note)

    def written_later(self, path: Any) -> None:
        """A file was written by a thread. Never raises."""
        self.written(self._unwritten.pop(absolute(os.fspath(path)), None))

    def removed(self, path: Any) -> None:
        """A file was removed. Never raises."""
        try:
            self.written(CheckpointNote(absolute(os.fspath(path)), time_ns(), is_removed=True))
        except Exception as error:
            self._checkpoints.report(error)


class _Saves(Replacement[WatchedCheckpoints]):
    """A trainer's `save_checkpoint`, which gets the file's path as its first argument."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        watched, spans = self._noted, self._noted.spans
        path = args[0] if args else kwargs.get("filepath")
        note = watched.describe(path)
        if spans is None:
            result = self._method(*args, **kwargs)
        else:
            spans.begin(semconv.SPAN_CHECKPOINT)
            try:
                result = self._method(*args, **kwargs)
            except BaseException as error:
                spans.end(semconv.SPAN_CHECKPOINT, type(error), error)
                raise
            is_written = not watched.writes_later
            spans.end(semconv.SPAN_CHECKPOINT, None, None, path=str(path), is_written=is_written)
        watched.written(note)
        return result


class _Writes(Replacement[WatchedCheckpoints]):
    """The `save_checkpoint` of what an asynchronous writer writes with, which gets the checkpoint and the path."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        result = self._method(*args, **kwargs)
        self._noted.written_later(args[1] if len(args) > 1 else kwargs.get("path"))
        return result


class _Removes(Replacement[WatchedCheckpoints]):
    """A strategy's `remove_checkpoint`, which gets the path."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        result = self._method(*args, **kwargs)
        self._noted.removed(args[0] if args else kwargs.get("filepath"))
        return result


def _writes_later(strategy: Any) -> bool:
    return any(base.__name__ == WRITES_LATER for base in type(getattr(strategy, "checkpoint_io", None)).__mro__)


def _writer(strategy: Any) -> Any:
    """What the asynchronous writer writes with, on its thread; it may wrap others."""
    found = strategy.checkpoint_io
    while getattr(found, "checkpoint_io", None) is not None:
        found = found.checkpoint_io
    return found
