"""Runs of what a process trains that a recorded one has started: a worker of a pool, or a script started by a script.

Such a process calls nothing of this package. An interpreter that has been started finds the run by an environment
variable; a forked one has the wrappers of its parent.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.util
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tracelet_otel._support.environment import (
    is_opening_elsewhere,
    is_rank_of_recorder,
    is_recorded_elsewhere,
    recorder,
)
from tracelet_otel._support.guard import log
from tracelet_otel.errors import RunLostError
from tracelet_otel.instrumentation.lightning.trainings import Trainings
from tracelet_otel.resource.script import script_name
from tracelet_otel.session.calls import Address, listens, wait_for
from tracelet_otel.session.parent import Parent
from tracelet_otel.session.ranks.rendezvous import Rendezvous, RunAddress, SpawnContext
from tracelet_otel.settings import Settings, from_plain

if TYPE_CHECKING:
    from tracelet_otel.instrumentation.lightning.hooks import Hooks
    from tracelet_otel.run import Run

_OPENING_S: Final = 15.0
"""How long a worker waits for a run that its parent was opening when it started the worker."""

BeginPart = Callable[[Settings, str, Parent, Mapping[str, Any]], "Run"]
"""Begins a run that is a part of another one, given that one's settings, a name, that one, and what says its code."""
Join = Callable[[Settings, SpawnContext], "Run"]
"""Sends what is logged here to a run that another process owns, given its settings and where it is found."""


class WorkerRuns:
    """The `RunsOfTrainers` of a process that works for another one, which has a run.

    Each trainer has a run of its own below that one, or all belong to that one, as its settings say. A pool may end its
    workers at any time, so what a trainer has logged is sent when it has done what it was called for.

    Args:
        begin: begins a run below another one.
        join: sends what is logged here to the run of another process.
        alone: begins a run for all that this process trains, where no other one has a run; None, from it, too: nothing
            is recorded.
    """

    def __init__(self, begin: BeginPart, join: Join, alone: Callable[[], Run | None] | None = None) -> None:
        self._begin_part = begin
        self._join = join
        self._alone = alone
        self._forget()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._trainings: Trainings | None = None
        self._same: Run | None = None
        """The run that has all trainers of this process: that of the other one, or one of its own."""
        self._is_said = False

    def of(self, trainer: Any, model: Any) -> Hooks | None:
        """The hooks of the run of a trainer, which begins where the trainer has none; None where it is not recorded."""
        if os.getpid() != self._pid:
            self._forget()
        if self._same is not None and self._same.is_open:
            if not self._has_moved(self._same):
                return self._same.hooks
            self._same.stop()
        if self._trainings is None:
            self._trainings = Trainings(self._begin, lambda run: run.flush())
            # A worker may skip the handlers of `atexit`, but always runs these.
            multiprocessing.util.Finalize(None, self._close, exitpriority=0)
        return self._trainings.of(trainer, model)

    def left(self, trainer: Any) -> None:
        """Send what the trainer has logged."""
        if self._same is not None:
            self._same.flush()
        elif self._trainings is not None:
            self._trainings.left(trainer)

    def _close(self) -> None:
        if os.getpid() == self._pid and self._trainings is not None:
            self._trainings.close()

    def _begin(self, number: int, model: str) -> Run | None:
        if not recorder()[0]:
            # It has no run, or its settings leave out what others train.
            self._same = None if self._alone is None else self._alone()
            return self._same
        place = _place()
        if place is None:
            self.say_unrecorded("without a relay (relay=False) only the process that started it is")
            return None
        found = _find(place, waits=not self._is_said)
        if found is None:
            self.say_unrecorded("the run of the process that started it is over, or its file is gone")
            return None
        settings = from_plain(found.address.settings)
        if settings.workers == "off":
            return None
        if settings.workers == "same":
            self._same = self._join(settings, found.place)
            return self._same
        name = f"{found.address.run_name}-{_name_of_process()}-{number}-{model}"
        return self._begin_part(settings, name, found.parent, found.address.code)

    def _has_moved(self, run: Run) -> bool:
        """Whether the run of the other process to which this one sends is over, and that process has begun another."""
        place = _place()
        found = None if place is None or not run.id else _find(place, waits=False)
        return found is not None and found.address.run_id != run.id

    def say_unrecorded(self, reason: str) -> None:
        """Say, once, that something of this process is not recorded."""
        if not self._is_said:
            self._is_said = True
            log.warning("what process %d trains is not recorded: %s", os.getpid(), reason)


@dataclass(frozen=True)
class _Found:
    """A run of the process that has started this one, or of an ancestor."""

    place: SpawnContext
    address: RunAddress

    @property
    def parent(self) -> Parent:
        """The run as those know it that are a part of it."""
        known = self.address
        last = Address(known.endpoint, known.token)

        def find() -> Address:
            nonlocal last
            found = _at(self.place).read()
            if found is not None and found.run_id == known.run_id:
                last = Address(found.endpoint, found.token)
            elif not listens(last):
                # While its parent lives, that starts it again.
                raise RunLostError("the relay has died, and so has the process that had started it, or its run is over")
            return last

        return Parent(known.run_id, known.run_name, find)


def parent_run() -> Parent | None:
    """The run of the process that has started this one, or of an ancestor; None where none takes other runs."""
    place = _place() if is_recorded_elsewhere() and not is_rank_of_recorder() else None
    found = None if place is None else _find(place, waits=True)
    return found.parent if found is not None and found.address.endpoint else None


def _place() -> SpawnContext | None:
    return SpawnContext.from_text(recorder()[1])


def _at(place: SpawnContext) -> Rendezvous:
    return Rendezvous(place.job, place.run_number)


def _find(place: SpawnContext, *, waits: bool) -> _Found | None:
    """Find the run of a place, or else one that its process has begun later: a pool may outlive a run.

    Args:
        place: says where the run was when this process was started.
        waits: whether to wait for a run that was about to begin then.
    """
    if waits and is_opening_elsewhere():
        wait_for(lambda: _at(place).read() is not None, time.monotonic() + _OPENING_S)
    for one in (_at(place), *_at(place).later()):
        address = one.read()
        if address is not None:
            return _Found(replace(place, run_number=one.run_number), address)
    return None


def _name_of_process() -> str:
    """Name of this process as its pool calls it, or that of its script."""
    name = multiprocessing.current_process().name
    return name if name != "MainProcess" else Path(script_name()).stem
