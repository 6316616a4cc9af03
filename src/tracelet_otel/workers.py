"""Runs of what a process trains that a recorded one has started: a worker of a pool, or a script started by a script.

Such a process calls nothing of this package. An interpreter that has been started finds the run by an environment
variable; a forked one has the wrappers of its parent.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.util
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wrapt import register_post_import_hook

from tracelet_otel._support.environment import has_spawn_context, recorder
from tracelet_otel._support.guard import log
from tracelet_otel._support.private_names import LIGHTNING

if TYPE_CHECKING:
    from tracelet_otel.instrumentation.lightning.hooks import Hooks
    from tracelet_otel.run import Run
    from tracelet_otel.session.parent import Parent
    from tracelet_otel.session.ranks.rendezvous import RunAddress, SpawnContext
    from tracelet_otel.settings import Settings
    from tracelet_otel.trainings import Trainings


BeginPart = Callable[["Settings", str, "Parent", Mapping[str, Any]], "Run"]
"""Begins a run that is a part of another one, given that one's settings, a name, that one, and what says its code."""
Join = Callable[["Settings", "SpawnContext"], "Run"]
"""Sends what is logged here to a run that another process owns, given its settings and where it is found."""


def watch(take_up: Callable[[], None]) -> None:
    """Take notice when this process, which a recorded one has started, imports Lightning, and is no rank.

    Args:
        take_up: called when it does.
    """
    if has_spawn_context():
        # A training has started it as a rank, and it runs the same script.
        return

    for package in LIGHTNING.packages:
        if package in sys.modules:
            take_up()
        else:
            register_post_import_hook(lambda _: take_up(), package)


class WorkerRuns:
    """The `RunsOfTrainers` of a process that works for another one, which has a run.

    Each trainer has a run of its own below that one, or all belong to that one, as its settings say. A pool may end its
    workers at any time, so what a trainer has logged is sent when it has done what it was called for.

    Args:
        begin: begins a run below another one.
        join: sends what is logged here to the run of another process.
    """

    def __init__(self, begin: BeginPart, join: Join) -> None:
        self._begin_part = begin
        self._join = join
        self._forget()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._trainings: Trainings | None = None
        self._same: Run | None = None
        """The part that this process has in the run of the other one."""
        self._is_said = False

    def of(self, trainer: Any, model: Any) -> Hooks | None:
        """The hooks of the run of a trainer, which begins where the trainer has none; None where it is not recorded."""
        if os.getpid() != self._pid:
            self._forget()
        if self._same is not None and self._same.is_open:
            return self._same.hooks
        if self._trainings is None:
            from tracelet_otel.trainings import Trainings

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
        found, settings = self._found()
        if found is None or settings is None:
            return None
        from tracelet_otel.session.parent import Parent

        if settings.workers == "same":
            self._same = self._join(settings, _place())
            return self._same
        parent = Parent(found.run_id, found.run_name, lambda: _address_now(found))
        name = f"{found.run_name}-{_name_of_process()}-{number}-{model}"
        return self._begin_part(settings, name, parent, found.code)

    def _found(self) -> tuple[RunAddress | None, Settings | None]:
        """The run of the other process and its settings; None where this process is not recorded, which is said."""
        from tracelet_otel.settings import from_plain

        found = _look()
        if found is None:
            self._say("the run of the process that started it is over, or takes nothing of other processes")
            return None, None
        settings = from_plain(found.settings)
        if settings.trackers and not found.endpoint:
            self._say("without a relay (relay=False) only the process that started it is")
            return None, None
        return found, settings

    def _say(self, reason: str) -> None:
        if not self._is_said:
            self._is_said = True
            log.warning("what process %d trains is not recorded: %s", os.getpid(), reason)


def _place() -> Any:
    from tracelet_otel.session.ranks.rendezvous import SpawnContext

    return SpawnContext.from_text(recorder()[1])


def _look() -> RunAddress | None:
    from tracelet_otel.session.ranks.rendezvous import Rendezvous

    place = _place()
    return None if place is None else Rendezvous(place.job, place.run_number).read()


def _address_now(known: RunAddress) -> Any:
    from tracelet_otel.errors import RunLostError
    from tracelet_otel.session.calls import Address

    found = _look()
    if found is None or found.run_id != known.run_id:
        raise RunLostError("the run is over that this one is a part of, or the process that owned it has died")
    return Address(found.endpoint, found.token)


def _name_of_process() -> str:
    """Name of this process as its pool calls it, or that of its script."""
    from tracelet_otel.resource.script import script_name

    name = multiprocessing.current_process().name
    return name if name != "MainProcess" else Path(script_name()).stem
