"""What the training thread notes for spans: which part of a training began or ended, when, and at which step.

These parts are rare: an epoch, a validation, a checkpoint. Another thread makes spans of the notes (`builder`).
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable
from time import perf_counter_ns, time_ns
from typing import Any, Final, NamedTuple

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.failure import type_name
from tracelet_otel.instrumentation.outcome import outcome_of
from tracelet_otel.instrumentation.tracing.files import size_of_file

_MOST_NOTES: Final = 100_000
"""Where more wait, as where nobody collects metrics, the oldest are dropped."""

SETUP_IS_OVER: Final = ""
"""Name of a note that begins no span, and says that an evaluation's setup has ended."""


class Note(NamedTuple):
    """The beginning or the end of something that becomes a span."""

    name: str
    time_ns: int
    """Time of `perf_counter_ns`."""
    thread: int
    begins: bool
    step: int | None = None
    """The trainer's step, as it is passed to loggers."""
    epoch: int | None = None
    offset_ns: int | None = None
    """What has to be added for nanoseconds since the epoch; only where the call of a trainer begins."""
    is_sanity_check: bool = False
    path: str | None = None
    """File of a checkpoint; only where its end is noted."""
    size: int | None = None
    """Size of that file; None where it is no file, or is not written yet."""
    is_written: bool = True
    """Whether it is written by then."""
    error: str | None = None
    """Type of the exception that has ended it; None where none has."""


class SpanNotes:
    """Notes of all trainers of a process. A call of a trainer and all in it are on one thread.

    Args:
        guard: where a trainer that cannot be read is reported.
    """

    def __init__(self, guard: Guard) -> None:
        self.queue: deque[Note] = deque(maxlen=_MOST_NOTES)
        self._guard = guard
        self._calls: dict[int, list[_Call]] = {}
        """By thread the calls that go on there: a callback may call another trainer."""

    def enter(self, trainer: Any, function: str, step_of: Callable[[Any], int]) -> None:
        """A call of a trainer begins.

        Args:
            trainer: the trainer; only a weak reference to it is kept.
            function: name of its function.
            step_of: returns a trainer's step.
        """
        now_ns, thread = perf_counter_ns(), threading.get_ident()
        call = _Call(weakref.ref(trainer), step_of, sys.exc_info()[1])
        self._calls.setdefault(thread, []).append(call)
        self.queue.append(Note(function, now_ns, thread, True, call.step, None, time_ns() - now_ns))

    def leave(self, function: str, error: BaseException | None) -> None:
        """A call of a trainer ends.

        Args:
            function: name of its function.
            error: the exception that ended it; None for none.
        """
        thread = threading.get_ident()
        calls = self._calls.get(thread)
        step = calls.pop().step if calls else None
        if not calls:
            self._calls.pop(thread, None)
        self.queue.append(Note(function, perf_counter_ns(), thread, False, step, error=type_of_call(error)))

    def begin(self, name: str) -> None:
        """A part of the training begins. Never raises."""
        try:
            now_ns, thread = perf_counter_ns(), threading.get_ident()
            call = self._call(thread)
            if call is not None:
                trainer = call.trainer()
                is_sanity_check = name == semconv.SPAN_VALIDATION and bool(trainer.sanity_checking)
                self.queue.append(
                    Note(name, now_ns, thread, True, call.step, trainer.current_epoch, is_sanity_check=is_sanity_check)
                )
        except Exception as error:
            self._guard.report("a span could not be begun", error)

    def end(self, name: str, *raised: Any, path: str | None = None, is_written: bool = True) -> None:
        """A part of the training ends. Never raises.

        Args:
            name: its name.
            raised: type, exception and traceback, as `__exit__` gets them; nothing where that is not known.
            path: file of a checkpoint.
            is_written: whether that file is written by now.
        """
        try:
            now_ns, thread = perf_counter_ns(), threading.get_ident()
            call = self._call(thread)
            if call is not None:
                error = raised[1] if raised else sys.exc_info()[1]
                # A training may be called where the user's code handles an exception, which ends nothing.
                kind = None if error is None or error is call.handled else type_name(error)
                # Here, since the next checkpoint may replace it before anybody else looks.
                size = size_of_file(path) if path is not None and is_written else None
                note = Note(name, now_ns, thread, False, call.step, path=path, size=size, error=kind)
                self.queue.append(note if is_written else note._replace(is_written=False))
        except Exception as problem:
            self._guard.report("a span could not be ended", problem)

    def step_of(self, thread: int) -> int | None:
        """The step of the trainer that runs on a thread; None where it is not known. May be called on any thread."""
        call = self._call(thread)
        return None if call is None else call.step

    def _call(self, thread: int) -> _Call | None:
        calls = self._calls.get(thread)
        return calls[-1] if calls else None


class _Call(NamedTuple):
    trainer: Callable[[], Any]
    read: Callable[[Any], int]
    handled: BaseException | None
    """The exception that is being handled where the trainer is called."""

    @property
    def step(self) -> int | None:
        """The trainer's step; None where it cannot be read."""
        try:
            trainer = self.trainer()
            return None if trainer is None else int(self.read(trainer))
        except Exception:
            return None


def type_of_call(error: BaseException | None) -> str | None:
    """Type of what has ended a call; Lightning makes another exception of Ctrl-C."""
    outcome = outcome_of(error)
    if error is None or outcome == semconv.OUTCOME_FINISHED:
        return None
    return KeyboardInterrupt.__name__ if outcome == semconv.OUTCOME_INTERRUPTED else type_name(error)
