"""Finds out why processes of a run are gone that have not reported its end, and reports it as the run's failure."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import psutil

from tracelet_otel import semconv
from tracelet_otel._support.processes import is_alive, started
from tracelet_otel._support.text import shortened
from tracelet_otel.protocol.decode import Batch, Param, Report
from tracelet_otel.protocol.failure import Failure, failure_in
from tracelet_otel.protocol.fault_files import SUFFIX, fault_file, process_of_file
from tracelet_otel.protocol.report_kinds import MAX_VALUE_LENGTH, TAGS
from tracelet_otel.relay.death import (
    CONTAINER_RESTARTED,
    ELSEWHERE,
    GONE,
    MACHINE_RESTARTED,
    Death,
    Remains,
    death_of,
    first_cause,
    is_no_consequence,
    of_rank,
    with_more,
)
from tracelet_otel.relay.ends import Ends
from tracelet_otel.relay.memory_kills import MemoryKills
from tracelet_otel.relay.parts import RequestPart, process_of
from tracelet_otel.relay.ranges import stored
from tracelet_otel.relay.run import RelayedRun
from tracelet_otel.relay.watched import WatchedProcess

_FIRST_PID: Final = 1
"""The first process of a machine or of a container, which ends with it."""
_OWNER: Final = "owner"
_SETTLED: Final = (semconv.OUTCOME_FINISHED, semconv.OUTCOME_FAILED)
"""Outcomes that stand, whatever ends the process after its trainings: a pool of processes is ended by SIGTERM."""
_SAMPLE_INTERVAL_S: Final = 5.0
"""Time between two looks at the counts of processes that were killed for memory."""


def owner_as_plain(pid: int, start: str) -> dict[str, Any]:
    """What a journal keeps of the process that owns a run, so that a later relay can tell why that is gone.

    Args:
        pid: its pid.
        start: what `processes.started` returned for it.
    """
    kills = MemoryKills.of(pid)
    return {
        "host": platform.node(),
        "pid": pid,
        "started": start,
        "first": _first_process(),
        "kills": None if kills is None else kills.plain,
    }


class Deaths:
    """The processes of a run that are on this machine, and how those that are gone have ended.

    Args:
        directory: the directory of the journals.
        state: state of the run's journal.
        ends: waits for the ends of those that live; None where the run is closed at once.
    """

    def __init__(self, directory: Path, state: Mapping[str, Any], ends: Ends | None = None) -> None:
        self._ends = ends
        self._directory = directory
        self._owner: Mapping[str, Any] = state[_OWNER]
        self._is_here = self._owner["host"] == platform.node()
        self._looked_s = time.monotonic()
        self._by_key: dict[str, WatchedProcess | None] = {}
        kills = MemoryKills.from_plain(self._owner.get("kills"))
        self._of_owner = WatchedProcess(self._owner["pid"], self._owner["started"], None, kills)
        self._all = [self._of_owner]
        self._watch(self._of_owner)
        for key, (rank, _, pid, start) in stored(state, "members").items():
            if pid is not None:
                self._by_key[key] = self._add(pid, start, rank)

    def look(self) -> None:
        """Take note of what is known of those that live; to be called regularly."""
        if time.monotonic() - self._looked_s > _SAMPLE_INTERVAL_S:
            self._looked_s = time.monotonic()
            for one in self._all:
                one.sample()

    def hear(self, batches: Iterable[Batch]) -> None:
        """Watch the processes that have sent something, until they report that they end."""
        for batch in batches:
            if not batch.is_system:
                self._hear(batch)

    def tell(self, run: RelayedRun, state: Mapping[str, Any]) -> None:
        """Report why the run has not ended well, where that is a death of its processes; the report is durable.

        The first report stands: a later relay knows less. This is a part of a request as any process sends them, so it
        takes the way of all reports.

        Args:
            run: the run, which accepts requests, and of which no more are waited for.
            state: state of its journal.
        """
        outcomes = stored(state, "outcomes")
        tags = {report.name: report.param.text for report in run.known.reports[TAGS].all}
        death = self._hidden(outcomes, failure_in(tags)) if run.known.ended else self._of_run(outcomes)
        if death is not None:
            batch = _batch(self._owner, death, tags.get(semconv.NOTE, ""))
            if run.known.reports[TAGS].has_news(process_of(batch.resource), batch.reports):
                (error,) = run.accept([RequestPart((), (batch,))])
                if error is not None:
                    raise error
        self.clean()

    def clean(self) -> None:
        """Delete the files that processes which are gone have left."""
        for one in self._all:
            if not one.is_alive:
                fault_file(self._directory, one.pid, one.start).unlink(missing_ok=True)

    def forget(self) -> None:
        """Watch nobody any more: the run is over."""
        ends, self._ends = self._ends, None
        if ends is not None:
            ends.forget(self._all)

    def _of_run(self, outcomes: Mapping[str, str]) -> Death | None:
        """Why the run has ended without a word of its owner; None where that lives, or nothing is to be told."""
        if self._of_owner.is_alive and self._is_here:
            return None
        gone = [self._of_owner, *self._ranks_gone] if self._is_here else []
        death = first_cause(self._remains(gone) or [Remains(loss=ELSEWHERE)])
        if outcomes.get(_OWNER) in _SETTLED and not death.is_crash:
            return None
        failed = [who for who, outcome in outcomes.items() if who != _OWNER and outcome == semconv.OUTCOME_FAILED]
        # That may be why a launcher has killed the owner.
        return with_more(death, f"after {failed[0]} had failed") if failed else death

    def _hidden(self, outcomes: Mapping[str, str], told: Failure | None) -> Death | None:
        """Why a rank is gone, where the owner has failed for want of it: then its own error says nothing of that."""
        if outcomes.get(_OWNER) != semconv.OUTCOME_FAILED or not self._is_here:
            return None
        causes = [one for one in self._remains(self._ranks_gone) if is_no_consequence(one)]
        if not causes:
            return None
        death = of_rank(death_of(causes[0]), causes[0].rank)
        return death if told is None else with_more(death, f"and the run has failed with {told.line}")

    def _hear(self, batch: Batch) -> None:
        key = process_of(batch.resource)
        if key not in self._by_key:
            self._by_key[key] = self._new(batch.resource)
        found = self._by_key[key]
        if found is not None:
            found.rank = batch.rank if batch.rank is not None else found.rank
            found.has_left = batch.left

    def _new(self, resource: Mapping[str, Any]) -> WatchedProcess | None:
        pid = resource.get(semconv.PROCESS_PID)
        if isinstance(pid, int) and resource.get(semconv.HOST_NAME) == platform.node():
            try:
                return self._add(pid, started(pid), None)
            except (psutil.Error, OSError):
                pass  # in a container of its own, the process has another pid than the one that is seen from here
        return None

    def _add(self, pid: int, start: str, rank: int | None) -> WatchedProcess:
        if (pid, start) == (self._of_owner.pid, self._of_owner.start):
            self._of_owner.rank = rank
            return self._of_owner
        new = WatchedProcess(pid, start, rank, MemoryKills.of(pid))
        # A new list: another thread may be going through the old one.
        self._all = [*self._all, new]
        self._watch(new)
        return new

    def _watch(self, one: WatchedProcess) -> None:
        if self._ends is not None:
            self._ends.watch(one)

    @property
    def _ranks_gone(self) -> list[WatchedProcess]:
        """The other processes that are gone, and have not reported that they end."""
        return [one for one in self._all if one is not self._of_owner and one.is_missing]

    def _remains(self, gone: list[WatchedProcess]) -> list[Remains]:
        """What is known of processes, in the order of their ends."""
        loss = self._loss()
        return [one.remains(self._directory, loss) for one in sorted(gone, key=lambda one: one.number)]

    def _loss(self) -> str:
        """What is said of a process of which nothing is known but that it is gone."""
        first, boot = self._owner.get("first"), _boot(self._owner["started"])
        now = _first_process()
        if boot is not None and now is not None and boot != _boot(now):
            return MACHINE_RESTARTED
        return CONTAINER_RESTARTED if first is not None and now is not None and first != now else GONE


def sweep(directory: Path) -> None:
    """Delete the files in which processes that are gone have left nothing, and of which no journal knows."""
    for path in directory.glob(f"*{SUFFIX}"):
        try:
            if not path.stat().st_size and not is_alive(*process_of_file(path)):
                path.unlink(missing_ok=True)
        except (OSError, ValueError):
            continue


def _batch(owner: Mapping[str, Any], death: Death, note: str) -> Batch:
    """What is reported of a death, as if a process of its own had sent it."""
    failure, outcome = death.failure, semconv.OUTCOME_FAILED if death.is_crash else None
    finding = f"{outcome}: {failure.message}" if outcome else failure.message
    whole = "\n\n".join(filter(None, (note, finding)))
    tags = {**failure.tags, semconv.NOTE: shortened(whole, MAX_VALUE_LENGTH)}
    # Each death has a key of its own, and no pid: it is no process that could be alive.
    resource = {semconv.SERVICE_INSTANCE_ID: f"death of {owner['pid']} {owner['started']}"}
    return Batch(resource, (), tuple(Report(TAGS, name, Param(text)) for name, text in tags.items()), outcome)


def _first_process() -> str | None:
    try:
        return started(_FIRST_PID)
    except (psutil.Error, OSError):
        return None


def _boot(start: str) -> str | None:
    """Id of the boot in what `processes.started` returns; None where it has none."""
    boot, slash, _ = start.partition("/")
    return boot if slash else None
