"""The child runs of a relay that a training has launched: those of processes which the training has started."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

import psutil

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard, log
from tracelet_otel._support.processes import is_alive, started
from tracelet_otel.errors import TraceletError
from tracelet_otel.protocol.requests import MalformedError
from tracelet_otel.relay.clock import Clock
from tracelet_otel.relay.deaths import owner_as_plain
from tracelet_otel.relay.ends import Ends
from tracelet_otel.relay.journal import SUFFIX, Journal
from tracelet_otel.relay.life import RunLife
from tracelet_otel.relay.ranges import stored, to_store
from tracelet_otel.relay.run import RelayedRun
from tracelet_otel.relay.runs import KeptRun, Runs
from tracelet_otel.relay.single import SingleRunRelay

_CHILDREN: Final = "children"
"""Where the journal of the relay's own run has the ids of its child runs, with those of their parents."""


class ChildRuns(Runs):
    """Takes runs that name as their parent the relay's own run, or one that was taken before.

    Their processes are on this machine, as a rule. One that is gone has ended its run.

    Args:
        own: the relay's own run, whose settings and directory they have.
        guard: reports bugs.
        clock: the time, by which ranks are waited for.
        ends: waits for the ends of their processes.
        resumes: whether this relay takes the place of one that died, and goes on with what that has left.
    """

    keeps_marks = True

    def __init__(self, own: SingleRunRelay, guard: Guard, clock: Clock, ends: Ends, *, resumes: bool) -> None:
        super().__init__(own.settings, own.journal.path.parent, guard, clock)
        self._own = own
        self._ends = ends
        self.begun = threading.Event()
        """Set once there is a run."""
        self._family: set[str] = set(stored(own.journal.state, _CHILDREN)) if resumes else set()
        for run_id in sorted(self._family):
            self._resume(run_id)

    def open(self) -> None:
        """Go on with the runs of a relay that died, in each tracker; imports of trackers take seconds."""
        for kept in self.kept:
            if not kept.run.is_over:
                self._open(kept)

    @property
    def are_complete(self) -> bool:
        """Whether each tracker has everything of all runs, and no problem was reported."""
        return all(kept.run.status.complete and not kept.run.problems for kept in self.kept)

    def has(self, run_id: str) -> bool:
        """Whether a run was taken, even if it is forgotten by now."""
        return run_id in self._family

    def end(self) -> bool:
        """Take no more runs, if all are settled; returns whether they are. Then nothing is left of complete ones."""
        with self._lock:
            kept = list(self._runs.values())
            if not all(one.run.is_over and self._is_known(one) for one in kept):
                return False
            self._is_closed = True
        for one in kept:
            self._settle(one)
        return True

    def _count(self) -> int:
        # Their trackers have the relay's own run as well.
        return len(self) + (not self._own.run.is_over)

    def _admitted(self, run_id: str, resource: Mapping[str, Any]) -> Mapping[str, Any]:
        parent = resource.get(semconv.PARENT_RUN_ID)
        is_new = run_id not in self._family
        if is_new and parent != self._own.run_id and parent not in self._family:
            raise MalformedError(f"this relay has no run {run_id!r}, nor its parent")
        completed = super()._admitted(run_id, resource)
        if is_new and not self._own.run.is_over:
            # Before its journal is there: a relay that takes the place of this one looks for it by this.
            self._own.journal.remember(to_store(_CHILDREN, {run_id: parent}))
        self._family.add(run_id)
        self.begun.set()
        return completed

    def _resource_of(self, run_id: str) -> Mapping[str, Any]:
        return self._own.resource if run_id == self._own.run_id else super()._resource_of(run_id)

    def _watched(self, resource: Mapping[str, Any]) -> dict[str, Any]:
        pid = resource.get(semconv.PROCESS_PID)
        if isinstance(pid, int) and resource.get(semconv.HOST_NAME) == platform.node():
            try:
                return {"owner": owner_as_plain(pid, started(pid))}
            except (psutil.Error, OSError):
                pass  # it is gone already, or in a container of its own
        return {"owner": None}

    def _life(self, run: RelayedRun, journal: Journal, guard: Guard) -> RunLife:
        state = journal.state
        owner = state.get("owner")
        if owner is None or owner["host"] != platform.node():
            return super()._life(run, journal, guard)

        def is_gone() -> bool:
            return not is_alive(owner["pid"], owner["started"])

        return RunLife(run, journal, guard, self._settings, is_gone, state, self._ends)

    def _resume(self, run_id: str) -> None:
        path = self._directory / f"{run_id}{SUFFIX}"
        if not path.exists():
            return  # it was over
        try:
            journal = Journal(path)
            with journal.closed_on_error():
                self._take(run_id, journal, journal.state["resource"])
                self.begun.set()
        except (TraceletError, LookupError, ValueError, TypeError) as error:
            log.warning("%s is left as it is: %s", path, error)

    def _is_known(self, kept: KeptRun) -> bool:
        """Whether the process of a run that is over knows so, is gone, or had time enough to ask."""
        is_late = time.monotonic() - kept.over_s > self._settings.stop_timeout
        return kept.is_told or is_late or kept.life.is_owner_gone

    def _settle(self, kept: KeptRun) -> None:
        with self._lock:
            if kept.is_settled or kept.is_replaced or not (kept.run.status.complete and self._is_known(kept)):
                return
            try:
                kept.run.forget()
                kept.is_settled = True
            except OSError as error:
                self._guard.report("a journal cannot be removed", error)
        kept.life.clean()
