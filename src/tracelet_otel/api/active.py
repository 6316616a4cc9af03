"""The runs of this process: the active one, and those that threads and trainers have for themselves."""

from __future__ import annotations

import multiprocessing.util
import os
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Final
from weakref import WeakValueDictionary

from tracelet_otel._support.guard import Guard, log
from tracelet_otel._support.private_names import COMMAND_LINE, FABRIC, LIGHTNING, OPENTELEMETRY_SDK
from tracelet_otel._support.private_names import check as check_names
from tracelet_otel.exporters.registry import without_secrets
from tracelet_otel.instrumentation.lightning import LightningInstrumentor
from tracelet_otel.instrumentation.lightning.capture import Scope
from tracelet_otel.instrumentation.lightning.trainings import Trainings
from tracelet_otel.run import Run, changing
from tracelet_otel.session.parent import Parent
from tracelet_otel.session.ranks.rendezvous import SpawnContext
from tracelet_otel.session.role import Role
from tracelet_otel.session.roles import Roles, following
from tracelet_otel.settings import Settings, from_plain, to_plain, unknown_variables
from tracelet_otel.workers import WorkerRuns

_active: Run | None = None
_isolated: ContextVar[Run | None] = ContextVar("tracelet_isolated_run", default=None)
"""The run that a thread has for itself."""
_of_trainers: Final[WeakValueDictionary[int, Run]] = WeakValueDictionary()
"""The runs that trainers have for themselves, by id of their hooks."""


def begin(settings: Settings, *, isolated: bool) -> Run:
    """Begin a run, and record in it what is trained from now on. An active run is ended first.

    Args:
        settings: settings of the run, which `registry.check_all` has checked.
        isolated: whether the run has only what this thread trains.

    Raises:
        TraceletError: as `start_logging` raises it.
    """
    global _active
    check_names(OPENTELEMETRY_SDK)
    if settings.track_lightning:
        for library in (LIGHTNING, FABRIC, COMMAND_LINE):
            check_names(library)
    if isolated:
        return _start_isolated(settings)
    with changing:
        if _active is not None:
            _active.check_thread()
            _active.stop()
        role = next_role(settings)
        record_workers()
        _active = Run(settings, role, _forget, trainings=trainings_of(settings, lambda: _as_parent(_active)))
        return _active


def _start_isolated(settings: Settings) -> Run:
    run: Run | None = None
    with changing:
        role = next_role(settings)
    record_workers()
    # Not while others wait: each thread starts a relay, which takes a second or two.
    run = Run(settings, role, _forget, scope=Scope.THREAD, trainings=trainings_of(settings, lambda: _as_parent(run)))
    _isolated.set(run)
    return run


def stop_logging() -> None:
    """Deliver everything and end the active run; without one, do nothing.

    `Run.stop` says how long this waits.
    """
    run = get_active_run()
    if run is not None:
        run.stop()


def get_active_run() -> Run | None:
    """Return the run that this thread records in; None where none is going on.

    While a trainer runs in it that has a run for itself, that is this one. Else it is the run that the thread has for
    itself, or else that of this process.
    """
    hooks = LightningInstrumentor().hooks
    of_trainer = _of_trainers.get(id(hooks))
    if hooks is not None and of_trainer is not None and of_trainer.hooks is hooks and of_trainer.is_open:
        return of_trainer
    own = _isolated.get()
    run = own if own is not None and own.is_open else _active
    return run if run is not None and run.is_of_this_process else None


@dataclass(frozen=True)
class StartedRank:
    """An `InStartedProcess`: starts recording in a rank that was forked or spawned. For `spawn` it is pickled."""

    settings: Mapping[str, Any]
    """Settings of the run as `settings.to_plain` gives them, without secrets."""
    spawn_context: SpawnContext
    parent_pid: int

    def __call__(self, trainer: Any, callback: Any) -> None:
        """Record what this process trains; an error is reported and not raised."""
        if os.getpid() == self.parent_pid:
            return
        try:
            self._record(trainer, callback)
        except Exception as error:
            Guard().report("this rank is not recorded", error)

    def _record(self, trainer: Any, callback: Any) -> None:
        global _active
        with changing:
            inherited = _active
            settings = from_plain(self.settings)
            run = _active = Run(settings, following(self.spawn_context, settings), _forget)
            if inherited is not None:
                inherited.hand_on(run)
        LightningInstrumentor().enter_copy(trainer, callback)
        # Such a process may skip the handlers of `atexit`, but always runs these.
        multiprocessing.util.Finalize(None, run.stop, exitpriority=0)


def next_role(settings: Settings, of_copies: Settings | None = None, parent: Parent | None = None) -> Role:
    """Choose the role of this process in the run that begins now.

    Args:
        settings: settings of the run.
        of_copies: settings for ranks that start as copies of this process; None for the same settings.
        parent: the run that it is a part of; None for none.
    """
    _say_unknown_variables()
    return _roles.next(settings, of_copies, parent)


@cache
def _say_unknown_variables() -> None:
    # A warning and no error, since other software may use these variables. Logged once in a process.
    for variable in unknown_variables():
        log.warning("without effect, since there is no such setting: %s", variable)


def trainings_of(settings: Settings, find: Callable[[], tuple[Parent, Mapping[str, Any]] | None]) -> Trainings | None:
    """What begins a run for each training of a run, where its settings ask for that.

    Args:
        settings: of that run.
        find: returns that run as its parts know it, and the attributes that say its code; None where it is not open.
    """

    def begin(number: int, model: str) -> Run | None:
        script = find()
        if script is None:
            return None
        parent, code = script
        return begin_part(settings, f"{parent.name}-{number}-{model}", parent, code)

    return Trainings(begin) if settings.runs == "trainer" else None


def _as_parent(run: Run | None) -> tuple[Parent, Mapping[str, Any]] | None:
    return None if run is None else (Parent(run.id, run.name, run.relay_address), run.code)


def record_workers(alone: Callable[[], Settings] | None = None) -> None:
    """Record what this process trains, which works for another one, or what a process trains that is forked from it.

    Args:
        alone: returns the settings for a worker's own run, where the process has none for which it works; None: such a
            worker is not recorded.
    """

    def begin_alone(load_settings: Callable[[], Settings]) -> Run | None:
        settings = load_settings()
        return None if settings.workers == "off" else _of_trainer(settings, next_role(settings))

    runs = WorkerRuns(begin_part, _join_as_worker, None if alone is None else partial(begin_alone, alone))
    LightningInstrumentor().record_workers(runs)


def begin_part(settings: Settings, name: str, parent: Parent, code: Mapping[str, Any]) -> Run:
    """Begin a run that is a part of another one, which measures the machine and records what is printed.

    Args:
        settings: of the other run.
        name: name of the run.
        parent: the other run.
        code: resource attributes that say which code runs.

    Raises:
        TraceletError: it cannot begin.
    """
    others: dict[str, Any] = {"runs": "script", "run_id": None, "track_system": False, "console": False}
    own = settings.model_copy(update={"exp_name": name, **others})
    with changing:
        role = next_role(own, parent=parent)
    return _of_trainer(own, role, parent=parent, code=code)


def _join_as_worker(settings: Settings, place: SpawnContext) -> Run:
    """Send what trainers of this process log to the run of the process that has started it.

    Args:
        settings: of that run.
        place: says where that run is found.

    Raises:
        TraceletError: it cannot begin.
    """
    return _of_trainer(settings, following(place, settings))


def _of_trainer(settings: Settings, role: Role, **more: Any) -> Run:
    run = Run(settings, role, _forget, scope=Scope.TRAINER, **more)
    if run.hooks is not None:
        _of_trainers[id(run.hooks)] = run
    return run


def _forget(run: Run) -> None:
    global _active
    if _active is run:
        _active = None


def _make_started_rank(settings: Settings, spawn_context: SpawnContext) -> StartedRank:
    return StartedRank(to_plain(without_secrets(settings)), spawn_context, os.getpid())


_roles = Roles(_make_started_rank)
