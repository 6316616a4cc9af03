"""A run for each training: each trainer has its own, where one process trains several models or folds."""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, Protocol

from tracelet_otel.instrumentation.lightning.hooks import Hooks


class TrainingRun(Protocol):
    """A run that one trainer has for itself."""

    @property
    def hooks(self) -> Hooks | None:
        """Where Lightning's calls are reported."""
        ...

    @property
    def is_open(self) -> bool:
        """Whether it is of this process, and has not ended."""
        ...

    def stop(self) -> None:
        """End it."""
        ...

    def flush(self) -> None:
        """Send what was recorded so far."""
        ...


class Trainings:
    """Begins a run when a trainer fits for the first time. It is a `RunsOfTrainers`.

    What the trainer does later, such as `test`, belongs to the same run. The run ends when its thread begins the next
    one, or when all end.

    Args:
        begin: begins a run, given its number from 1 and the name of the model's class; None where there is none.
        pause: called with a run whose trainer has done what it was called for.
    """

    def __init__(
        self,
        begin: Callable[[int, str], TrainingRun | None],
        pause: Callable[[TrainingRun], object] = lambda _: None,
    ) -> None:
        self._begin = begin
        self._pause = pause
        self._forget()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._of_trainer: weakref.WeakKeyDictionary[Any, TrainingRun] = weakref.WeakKeyDictionary()
        self._open: list[tuple[int, TrainingRun]] = []
        """All that have not ended, each with the id of the thread that began it."""

    def of(self, trainer: Any, model: Any) -> Hooks | None:
        """The hooks of the run of a trainer, which begins where the trainer has none.

        Args:
            trainer: a trainer that is about to run.
            model: the module that it was given; None for the one that it has.
        """
        if os.getpid() != self._pid:
            # A forked process has trainings of its own.
            self._forget()
        run = self._of_trainer.get(trainer)
        if run is None or not run.is_open:
            if trainer.fast_dev_run:
                # Nothing of it is recorded.
                return None
            self._end_idle(threading.get_ident())
            name = type(trainer.lightning_module if model is None else model).__name__
            run = self._begin(next(self._numbers), name)
            if run is None:
                return None
            with self._lock:
                self._of_trainer[trainer] = run
                self._open.append((threading.get_ident(), run))
        return run.hooks

    def left(self, trainer: Any) -> None:
        """The trainer has done what it was called for."""
        run = self._of_trainer.get(trainer)
        if run is not None and run.is_open:
            self._pause(run)

    def close(self) -> None:
        """End all runs."""
        if os.getpid() == self._pid:
            self._end_idle(None)

    def _end_idle(self, thread: int | None) -> None:
        """End the runs that a thread has begun; not one whose trainer is running, which is beginning another one.

        Args:
            thread: id of the thread; None for all runs, whatever their trainers do.
        """
        with self._lock:
            ending = [
                (one, run)
                for one, run in self._open
                if thread is None or (one == thread and run.hooks is not None and run.hooks.lifecycle.is_idle)
            ]
            self._open = [one for one in self._open if one not in ending]
        for _, run in ending:
            run.stop()
