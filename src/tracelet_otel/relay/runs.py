"""The runs of a relay that begin with the first request which names them, each with a journal of its own."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard, log
from tracelet_otel.errors import TraceletError
from tracelet_otel.exporters import registry
from tracelet_otel.protocol.messages import Status
from tracelet_otel.protocol.requests import MalformedError, earliest_unix_nano, resource_of
from tracelet_otel.protocol.run_identity import to_text
from tracelet_otel.relay.clock import Clock
from tracelet_otel.relay.figures import RunFigures, total
from tracelet_otel.relay.journal import SUFFIX, Journal
from tracelet_otel.relay.life import RunLife
from tracelet_otel.relay.news import reopened
from tracelet_otel.relay.parts import RequestPart
from tracelet_otel.relay.phase import EndedError
from tracelet_otel.relay.run import RelayedRun
from tracelet_otel.relay.taking import Accepted
from tracelet_otel.settings import Settings, to_plain

LOOK_S: Final = 0.1
"""Time between two calls of `Runs.look`."""
_CHECKS: Final = 10
"""In how many calls all runs are looked after once; there may be hundreds."""
IDLE_S: Final = 120.0
"""A run from which nothing at all came for this many seconds is taken for one whose process was killed."""
_REMEMBERED_S: Final = 3600.0
"""How long a run that is over stays known, in case its process comes back."""
_AT_ONCE: Final = 4
"""How many runs are written to the disk at a time."""


@dataclass
class KeptRun:
    """A run, and what a relay of many has to know of it."""

    run: RelayedRun
    life: RunLife
    journal: Journal
    resource: Mapping[str, Any]
    """Attributes with which the run has begun in its trackers."""
    is_closing: bool = False
    """Whether it is being ended in each tracker, or is over."""
    is_told: bool = False
    """Whether its process has asked for the final status."""
    is_settled: bool = False
    """Whether nothing is left of it on the disk. What has its names from now on is another relay's."""
    is_replaced: bool = False
    """Whether it goes on as another object, which has its journal."""
    over_s: float = field(default_factory=time.monotonic)
    """When it was last not over, on the monotonic clock."""


class Runs:
    """Takes many runs. A run ends when its owner ends it, or when that has to be taken for gone.

    A subclass says which runs are taken, and how it is known that an owner is gone.

    Args:
        settings: backends and their addresses. Names, projects and ids come from the resource of each run.
        directory: the directory of the journals.
        guard: reports bugs.
        clock: the time, by which ranks are waited for.
        idle_s: close a run as killed after this many seconds in which nothing came from it.
    """

    keeps_marks = False
    """Whether the journal of a run that is over is kept until its process knows it: the next relay is told by it."""

    def __init__(self, settings: Settings, directory: Path, guard: Guard, clock: Clock, idle_s: float = IDLE_S) -> None:
        self._settings = registry.without_runs(settings)
        self._directory = directory
        self._guard = guard
        self._clock = clock
        self._idle_s = idle_s
        self._lock = threading.Lock()
        # Each run's journal is a file of its own. What is written at the same time, the disk syncs together.
        self.each = ThreadPoolExecutor(_AT_ONCE, "tracelet-run").map
        """Calls a function for several runs at a time."""
        self._runs: dict[str, KeptRun] = {}
        self._is_closed = False
        """Whether no run is taken up any more."""
        self._looks = 0
        self._forgotten = RunFigures()
        """What was counted of runs that are forgotten."""

    def __len__(self) -> int:
        """How many runs are open."""
        with self._lock:
            return sum(not one.is_closing for one in self._runs.values())

    @property
    def kept(self) -> list[KeptRun]:
        """All runs, also those that are over and not forgotten yet."""
        with self._lock:
            return list(self._runs.values())

    @property
    def figures(self) -> list[RunFigures]:
        """Figures of all runs, those that are forgotten as well."""
        return [self._forgotten, *(one.run.figures for one in self.kept)]

    def accept(self, run_id: str, parts: Sequence[RequestPart]) -> Accepted:
        """Accept those parts of requests that belong to one run, which begins where it is new."""
        try:
            return self._accepted(run_id, parts)
        except (MalformedError, TraceletError) as error:
            return Accepted([error for _ in parts], "")

    def known(self, run_id: str) -> RelayedRun:
        """A run.

        Raises:
            EndedError: there is none. Its metrics come on another way, and may be here in a moment.
        """
        with self._lock:
            found = self._runs.get(run_id)
        if found is None:
            raise EndedError(f"there is no run {run_id!r}")
        return found.run

    def status(self, run_id: str) -> Status | None:
        """How far the delivery of a run is; None where there is no such run."""
        with self._lock:
            found = self._runs.get(run_id)
        if found is None:
            return None
        found.run.hear()
        status = found.run.status
        found.is_told = status.over
        return status

    def look(self, *, is_told_to_finish: bool = False) -> None:
        """Look after the runs, and close those that are over; to be called each `LOOK_S`.

        Args:
            is_told_to_finish: whether the relay was asked to end, and closes what sends nothing more.
        """
        with self._lock:
            runs = list(self._runs.items())
        self._looks += 1
        for number, (run_id, kept) in enumerate(runs, self._looks):
            # Whoever has ended a run waits for its end.
            if number % _CHECKS == 0 or (kept.run.known.ended and not kept.is_closing):
                try:
                    self._look_after(run_id, kept, is_told_to_finish=is_told_to_finish)
                except Exception as error:
                    # A bug, which at least takes no other run along.
                    self._guard.report(f"run {run_id} could not be looked after", error)

    def _look_after(self, run_id: str, kept: KeptRun, *, is_told_to_finish: bool) -> None:
        if not kept.is_closing:
            if kept.life.is_over(is_told_to_finish=is_told_to_finish):
                self._close(run_id, kept)
            else:
                kept.life.look()
        elif kept.run.is_over:
            self._settle(kept)
            if kept.run.unheard_s > _REMEMBERED_S:
                counts = kept.run.figures.counts
                with self._lock:
                    # It may have begun again in the meantime.
                    if self._runs.get(run_id) is kept:
                        del self._runs[run_id]
                        kept.run.files.forget()
                        self._forgotten = total([self._forgotten, counts])

    def _close(self, run_id: str, kept: KeptRun) -> None:
        def work() -> None:
            if not kept.run.known.ended and kept.run.discard():
                kept.life.forget()
                log.info("run %s was announced and never began", run_id)
            else:
                complete = kept.life.close(self._settings.relay_patience, marks=self.keeps_marks)
                journal = kept.run.status.journal
                log.info("run %s is over: %s", run_id, "complete" if complete else f"not complete, see {journal}")
            kept.over_s = time.monotonic()

        with self._lock:
            if self._runs.get(run_id) is not kept:
                return
            kept.is_closing = True
        threading.Thread(target=work, name=f"tracelet-close-{run_id}", daemon=True).start()

    def _accepted(self, run_id: str, parts: Sequence[RequestPart]) -> Accepted:
        kept = self._runs.get(run_id) or self._begin(run_id, first_resource(parts[0]), {})
        kept.life.hear(batch for part in parts for batch in part.batches)
        errors = kept.run.accept(parts)
        if any(isinstance(error, EndedError) for error in errors) and kept.run.is_over:
            # Nothing came from its process for so long that the run was closed, as when a machine sleeps.
            with self._lock:
                kept.is_replaced = True
                kept.journal.close()
            memory = {} if kept.journal.path.exists() else kept.run.known.memory
            kept = self._begin(run_id, first_resource(parts[0]), memory)
            errors = kept.run.accept(parts)
        return Accepted(errors, kept.run.problems)

    def _begin(self, run_id: str, resource: Mapping[str, Any], memory: Mapping[str, Any]) -> KeptRun:
        resource = self._admitted(run_id, resource)
        journal = Journal(self._directory / f"{run_id}{SUFFIX}")
        with journal.closed_on_error():
            plain = to_plain(registry.for_a_journal(self._settings))
            state = {"settings": plain, "resource": resource, **self._watched(resource)}
            journal.remember({**state, **reopened(journal.state), **memory})
            kept = self._take(run_id, journal, resource)
            self._open(kept)
            return kept

    def _take(self, run_id: str, journal: Journal, resource: Mapping[str, Any]) -> KeptRun:
        """Take up a run by its journal, in place of an earlier one with that id."""
        guard = Guard()
        run = RelayedRun(journal, guard, self._settings, self._clock, self._count)
        # Of a process that is seen from here, the end is known.
        run.files.may_go_on = not self.keeps_marks
        kept = KeptRun(run, self._life(run, journal, guard), journal, resource, is_closing=run.is_over)
        before = self._runs.get(run_id)
        counts = RunFigures() if before is None else before.run.figures.counts
        with self._lock:
            if self._is_closed:
                if journal.is_empty:
                    journal.remove()
                raise EndedError("the relay has ended")
            # That one is over, and may have been forgotten by another thread in the meantime.
            if self._runs.get(run_id) is before:
                self._forgotten = total([self._forgotten, counts])
            self._runs[run_id] = kept
        return kept

    def _open(self, kept: KeptRun) -> None:
        kept.run.resume(registry.trackers(self._settings), kept.resource)

    def _count(self) -> int:
        return max(len(self), 1)

    def _admitted(self, run_id: str, resource: Mapping[str, Any]) -> Mapping[str, Any]:
        """The resource with which a run begins.

        Raises:
            MalformedError: the relay takes no such run.
        """
        if not re.fullmatch(semconv.RUN_ID_PATTERN, run_id):
            raise MalformedError(
                f"{semconv.RUN_ID} has to be 1 to 64 letters, digits, '_', '.' or '-', and no '.' comes first"
            )
        return with_parent(resource, self._resource_of(str(resource.get(semconv.PARENT_RUN_ID))))

    def _resource_of(self, run_id: str) -> Mapping[str, Any]:
        """The resource of a run of this relay; empty where there is none."""
        with self._lock:
            found = self._runs.get(run_id)
        return {} if found is None else found.resource

    def _watched(self, resource: Mapping[str, Any]) -> dict[str, Any]:
        """What a journal keeps of the process that owns a run; nothing where it cannot be seen from here."""
        return {}

    def _life(self, run: RelayedRun, journal: Journal, guard: Guard) -> RunLife:
        return RunLife(run, journal, guard, self._settings, lambda: run.unheard_s > self._idle_s)

    def _settle(self, kept: KeptRun) -> None:
        """Do what is left to do for a run that is over; called again and again."""


def with_parent(resource: Mapping[str, Any], parent: Mapping[str, Any]) -> Mapping[str, Any]:
    """The resource of a run with what trackers have to know of its parent.

    Args:
        resource: of the run.
        parent: resource of its parent; empty where that is not known.
    """
    name, group = parent.get(semconv.RUN_NAME), parent.get(semconv.RUN_GROUP)
    found = {semconv.PARENT_RUN_NAME: name, semconv.RUN_GROUP: group}
    return {**{key: value for key, value in found.items() if value is not None}, **resource}


def first_resource(part: RequestPart) -> dict[str, Any]:
    """Resource attributes of the first process of a run. The run's start is the time of the earliest data point."""
    first_unix_nano = earliest_unix_nano(part.resources)
    started = {} if first_unix_nano is None else {semconv.RUN_START_TIME: to_text(first_unix_nano)}
    # A training that joined the relay reports when its run began, and that is kept. Through a collector, none does.
    return {**started, **resource_of(part.resources[0])}
