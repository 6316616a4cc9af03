"""Which run a trainer is recorded in, since a process may have several: one by default, and others beside it."""

from __future__ import annotations

import os
from contextvars import ContextVar
from dataclasses import dataclass
from threading import get_ident
from typing import TYPE_CHECKING, Any, Protocol

from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.lightning.lifecycle import only_tunes
from tracelet_otel.instrumentation.lightning.rows import HandingOut

if TYPE_CHECKING:
    from tracelet_otel.instrumentation.lightning.hooks import Hooks


class RunsOfTrainers(Protocol):
    """Has a run for each trainer."""

    def of(self, trainer: Any, model: Any) -> Hooks | None:
        """The hooks of the run of a trainer, which begins where the trainer has none.

        Args:
            trainer: a trainer that is about to run.
            model: the module that it was given; None for none.

        Returns:
            None where it has no run.
        """
        ...

    def left(self, trainer: Any) -> None:
        """The trainer has ended what it was called for, and may be called again."""
        ...


class RunsInWorkers(RunsOfTrainers, Protocol):
    """Has a run for each trainer of a process that works for another one."""

    def say_unrecorded(self, reason: str) -> None:
        """Say, once, that something of this process is not recorded."""
        ...


@dataclass(frozen=True)
class Route:
    """Where what a trainer does is sent."""

    hooks: Hooks | None
    """None where it is not recorded."""
    before: Hooks | None
    """Where its thread sent what it did before, unless that was the default run."""
    runs: RunsOfTrainers | None
    """Whoever was asked for a run of its own; None for nobody."""


class Routes:
    """Finds the hooks of the run to which a trainer, a thread or a logger belongs.

    A trainer is recorded in the run that its thread has for itself, or else in the default run of the process. Either
    may have a run of its own for each trainer.
    """

    def __init__(self) -> None:
        self.handing_out = HandingOut()
        """The threads that are handing a row to loggers, of whichever run."""
        self.default: Hooks | None = None
        """Of the default run; None where there is none."""
        self.in_workers: RunsInWorkers | None = None
        """Runs of what is trained in a process that works for another one, which has a run. None: not recorded."""
        self._others: list[Hooks] = []
        """Of all runs that are not the default one."""
        self._isolated: ContextVar[Hooks | None] = ContextVar("tracelet_isolated", default=None)
        """Of the run that a thread has for itself."""
        self._entered: dict[int, Hooks] = {}
        """By id of the thread those of the trainer that runs in it, unless they are the default ones."""
        self._pid = os.getpid()
        self._is_worker = False
        self._own_guard = Guard()
        """Where there is no run."""

    def __reduce__(self) -> tuple[Any, ...]:
        # A user's logger that is pickled by value contains the wrappers, and they refer to this object. Unpickling
        # gives that of the other process.
        return _routes_of_this_process, ()

    @property
    def is_worker(self) -> bool:
        """Whether this process works for another one: what it trains while it has no run of its own is that one's."""
        return self._is_worker or (self.is_used and os.getpid() != self._pid)

    @property
    def guard(self) -> Guard:
        """Where problems of this thread's run are reported."""
        hooks = self.here() or next(iter(self._others), None)
        return self._own_guard if hooks is None else hooks.guard

    @property
    def is_used(self) -> bool:
        """Whether something is recorded."""
        return self.default is not None or bool(self._others)

    def be_worker(self) -> None:
        """Take this process for one that works for another one. What a forked child has of its parent's is dropped."""
        self.default, self._is_worker, self._pid = None, True, os.getpid()
        self._others, self._entered = [], {}

    def begin(self, hooks: Hooks) -> None:
        """Make these the hooks of the default run."""
        if os.getpid() != self._pid:
            self.be_worker()
        self.default = hooks

    def add(self, hooks: Hooks, *, isolated: bool) -> None:
        """Take up the hooks of another run.

        Args:
            hooks: the hooks.
            isolated: whether what this thread trains from now on belongs to that run.
        """
        if os.getpid() != self._pid:
            self.be_worker()
        self._others.append(hooks)
        if isolated:
            self._isolated.set(hooks)

    def remove(self, hooks: Hooks | None) -> None:
        """Forget the hooks of a run that has ended; None for the default run."""
        if hooks is None:
            self.default = None
            return
        self._others = [one for one in self._others if one is not hooks]
        self._entered = {thread: one for thread, one in self._entered.items() if one is not hooks}

    def here(self) -> Hooks | None:
        """The hooks for what this thread does; None where nothing is recorded. Called at each step."""
        return self._entered.get(get_ident(), self.default)

    def here_in_this_process(self) -> Hooks | None:
        """The same, and None in a forked child, too."""
        return self.here() if os.getpid() == self._pid else None

    def of_logger(self, logger: Any) -> Hooks | None:
        """The hooks of the run with a trainer that has this logger; those of this thread where none is known."""
        here = self.here()
        if self._others and (here is None or here.lifecycle.trainer_of(logger) is None):
            for hooks in (*self._others, self.default):
                if hooks is not None and hooks.lifecycle.trainer_of(logger) is not None:
                    return hooks
        return here

    def of_thread(self) -> Hooks | None:
        """The hooks for what this thread trains without a trainer; None where nothing is recorded."""
        isolated = self._isolated.get()
        return isolated if isolated in self._others else self.default

    def beginning(self) -> Hooks | None:
        """The same for what begins such a training: one that works for another process says that it is not recorded."""
        if self.is_worker and not self._is_worker:
            self.be_worker()
        hooks = self.of_thread()
        if hooks is None and self._is_worker and self.in_workers is not None:
            self.in_workers.say_unrecorded("only trainers of such a process have runs, and Fabric has none")
        return hooks

    def enter(self, trainer: Any, model: Any, function: str) -> Route:
        """Send what this thread does to the run of a trainer, until `leave` is called with what this returns.

        Args:
            trainer: the trainer.
            model: the module that it was given; None for none.
            function: which of its functions was called.
        """
        if self.is_worker and not self._is_worker:
            self.be_worker()
        base = self.of_thread()
        runs = base.trainings if base is not None else self.in_workers if self._is_worker else None
        found = base
        # Predictions log nothing.
        if runs is not None and function != "predict":
            found = self._of(runs, trainer, model) or base
        before = self._entered.get(get_ident())
        self._set(found)
        return Route(found, before, runs)

    def leave(self, trainer: Any, route: Route) -> None:
        """Send what this thread does to where it went before a trainer was entered."""
        self._set(route.before)
        if route.runs is not None:
            self._left(route.runs, trainer)

    def _set(self, hooks: Hooks | None) -> None:
        if hooks is not None and hooks in self._others:
            self._entered[get_ident()] = hooks
        else:
            self._entered.pop(get_ident(), None)

    def _of(self, runs: RunsOfTrainers, trainer: Any, model: Any) -> Hooks | None:
        try:
            # Nothing of a call that only tunes is recorded, so no run begins for it.
            return None if only_tunes(trainer) else runs.of(trainer, model)
        except Exception as error:
            self.guard.report("a training has no run of its own", error)
            return None

    def _left(self, runs: RunsOfTrainers, trainer: Any) -> None:
        try:
            runs.left(trainer)
        except Exception as error:
            self.guard.report("the end of a training was not seen", error)


def _routes_of_this_process() -> Routes:
    from tracelet_otel.instrumentation.lightning.instrumentor import LightningInstrumentor

    return LightningInstrumentor().routes
