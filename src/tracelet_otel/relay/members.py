"""The processes of a run: which of them are alive, and which outcome of the run each has reported."""

from __future__ import annotations

import math
import platform
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import psutil

from tracelet_otel import semconv
from tracelet_otel._support.processes import is_alive, started
from tracelet_otel.protocol.decode import Batch
from tracelet_otel.relay.parts import process_of

_SILENT_S: Final = 30.0
"""A process that cannot be seen from here is gone if nothing came from it for so long, or three export intervals."""
_LAST_EXPORT_S: Final = 2.0
"""How long, or two export intervals, the last rows of a process that does not train are waited for at a run's end."""
_ON_ITS_WAY_S: Final = 10.0
"""So long after a process has ended its last export may still arrive: collectors retry after seconds."""
_CHECK_INTERVAL_S: Final = 1.0
"""Time between two checks of which processes are gone."""
_OWNER: Final = "owner"
_DECISIVE_OUTCOMES: Final = (semconv.OUTCOME_INTERRUPTED, semconv.OUTCOME_FAILED, semconv.OUTCOME_TERMINATED)
"""Outcomes that are those of the run if any rank reports them; earlier ones take precedence. Where one rank is
interrupted, others fail since they miss it; where one fails, its launcher terminates the others."""


@dataclass
class _Member:
    """One process of the run."""

    rank: int | None
    owns_run: bool
    pid: int | None
    """None where the process is not on this machine, or is not visible from here."""
    started: str
    """What `processes.started` gives for the process, since a pid may be used again."""
    heard_s: float = 0.0
    """When something came from it last."""
    trained_s: float = -math.inf
    """When it last reported the step of a trainer."""
    is_active: bool = False
    """Whether it trains, or has rows that it has yet to send."""
    left: bool = False
    """Whether it has reported that it ends."""
    ended_s: float | None = None
    """When it was first found to be no longer running."""

    @property
    def reporter(self) -> str:
        """Its key in `Members.outcomes`."""
        return _OWNER if self.owns_run else f"rank {self.rank}"


class Members:
    """The processes of one run; each is known from the first time that something came from it.

    Args:
        outcomes: the value of `outcomes` that an earlier relay of this run has stored.
        export_interval_s: seconds between two exports of a process that is alive.
        identities: what `identities` has returned to earlier relays of this run. These processes may have died since.
        now_s: the time.
    """

    def __init__(
        self,
        outcomes: Mapping[str, str],
        export_interval_s: float = 1.0,
        identities: Mapping[str, Sequence[Any]] = MappingProxyType({}),
        now_s: float = 0.0,
    ) -> None:
        self._members = {process: _Member(*identity) for process, identity in identities.items()}
        for member in self._members.values():
            member.heard_s = now_s
            member.is_active = outcomes.get(member.reporter) == semconv.OUTCOME_RUNNING
        self._silent_s = max(_SILENT_S, 3 * export_interval_s)
        self._last_export_s = max(_LAST_EXPORT_S, 2 * export_interval_s)
        self._checked_s = 0.0
        self._ended: set[str] = set()
        self._leaving: set[str] = set()
        """Processes that have reported that they end, and were not returned by `newly_left` yet."""
        self.outcomes = dict(outcomes)
        """The latest outcome that each rank has reported, under `rank N`, and the owner's, under `owner`."""
        self._reported = Counter(self.outcomes.values())

    @property
    def outcome(self) -> str | None:
        """The run's outcome so far; None where no process has reported a decisive one, and its owner none at all."""
        decisive = (outcome for outcome in _DECISIVE_OUTCOMES if self._reported[outcome])
        return next(decisive, self.outcomes.get(_OWNER))

    @property
    def ranks(self) -> list[tuple[str, int]]:
        """Key and rank of each process that is a rank, in the order in which they were heard first."""
        return [(process, member.rank) for process, member in self._members.items() if member.rank is not None]

    def reopen(self) -> None:
        """Forget the processes, and the reported outcomes and ends, since the run goes on."""
        self._members.clear()
        self.outcomes.clear()
        self._reported.clear()
        self._ended.clear()

    def hear(self, process: str, batch: Batch, now_s: float) -> None:
        """Take note of what came from a process.

        Args:
            process: key of the process.
            batch: what it has sent.
            now_s: the time.
        """
        if self._is_outdated(process, batch):
            return
        if batch.ended or batch.left:
            self._ended.add(process)
        member = self._members.get(process)
        if member is None:
            member = self._members[process] = _member(batch.resource)
        member.heard_s = now_s
        member.rank = batch.rank if batch.rank is not None else member.rank
        member.owns_run = member.owns_run or batch.ended is not None
        member.left = batch.left
        if batch.left:
            self._leaving.add(process)
        if batch.has_trainer:
            member.trained_s = now_s
        if batch.outcome is not None:
            # A collector may have divided its request, so that the trainer's step is in another part.
            trains = now_s - member.trained_s <= self._last_export_s
            member.is_active = (batch.outcome == semconv.OUTCOME_RUNNING and trains) or batch.queued > 0
        if batch.outcome is not None:
            reporter = self._reporter(process, batch)
            if (before := self.outcomes.get(reporter)) is not None:
                self._reported[before] -= 1
            self._reported[batch.outcome] += 1
            self.outcomes[reporter] = batch.outcome

    def news(self, batches: Iterable[Batch]) -> dict[str, str]:
        """Outcomes of the run that batches report and that differ from those in `outcomes`, with the same keys."""
        reported: dict[str, str] = {}
        ended: set[str] = set()
        for batch in batches:
            process = process_of(batch.resource)
            if batch.outcome is not None and not (self._is_outdated(process, batch) or process in ended):
                reported[self._reporter(process, batch)] = batch.outcome
            if batch.ended or batch.left:
                ended.add(process)
        return {reporter: outcome for reporter, outcome in reported.items() if self.outcomes.get(reporter) != outcome}

    def identities(self, batches: Iterable[Batch]) -> dict[str, list[Any]]:
        """By process, what batches tell that was not known: its rank, whether it owns the run, its pid and start."""
        found: dict[str, list[Any]] = {}
        for batch in batches:
            process = process_of(batch.resource)
            member = self._members.get(process)
            rank = batch.rank if member is None or batch.rank is not None else member.rank
            owns_run = self.owns_run(process, batch)
            is_known = member is not None and (member.rank, member.owns_run) == (rank, owns_run)
            if not (is_known or batch.is_system or process in found or self._is_outdated(process, batch)):
                member = member or _member(batch.resource)
                found[process] = [rank, owns_run, member.pid, member.started]
        return found

    def _reporter(self, process: str, batch: Batch) -> str:
        return _OWNER if self.owns_run(process, batch) else f"rank {batch.rank}"

    def _is_outdated(self, process: str, batch: Batch) -> bool:
        """Whether a batch arrives after the last one of its process, though it was sent before that."""
        return process in self._ended and not (batch.ended or batch.left)

    def owns_run(self, process: str, batch: Batch) -> bool:
        """Whether a batch came from the run's owner."""
        # `ended` is what tells an owner; not each part of a large export has it.
        known = self._members.get(process)
        return batch.ended is not None or (known is not None and known.owns_run)

    def others_may_send(self, now_s: float, ended_s: float | None) -> bool:
        """Whether a process other than the owner may send more.

        That is one which trains or has rows to send, and for a short time one from which nothing has come since the
        owner ended the run.

        Args:
            now_s: the time.
            ended_s: when the owner reported the end of the run; None where it has not.
        """
        return any(
            (
                member.is_active
                or (ended_s is not None and member.heard_s <= ended_s < now_s < ended_s + self._last_export_s)
            )
            and not member.left
            and not self._is_gone(member, now_s)
            for member in self._members.values()
            if not member.owns_run
        )

    def newly_left(self, is_complete: Callable[[str], bool]) -> list[int]:
        """Ranks that have reported that they end; each is returned once.

        Args:
            is_complete: returns whether all that a process has sent has come; before that its rank is not returned.
        """
        left = [process for process in self._leaving if is_complete(process)]
        self._leaving.difference_update(left)
        return self._forget(left)

    def newly_gone(self, now_s: float) -> list[int]:
        """Ranks whose processes were found to be gone; each is returned once."""
        if now_s - self._checked_s < _CHECK_INTERVAL_S:
            return []
        self._checked_s = now_s
        return self._forget([process for process, member in self._members.items() if self._is_gone(member, now_s)])

    def _forget(self, ended: Iterable[str]) -> list[int]:
        """Remove processes that have ended, but not the owner; returns the ranks that no other process has."""
        ranks = set()
        for process in ended:
            if process in self._members and not self._members[process].owns_run:
                ranks.add(self._members.pop(process).rank)
        ranks -= {member.rank for member in self._members.values()} if ranks else set()
        return sorted(rank for rank in ranks if rank is not None)

    def _is_gone(self, member: _Member, now_s: float) -> bool:
        if member.pid is not None:
            if is_alive(member.pid, member.started):
                return False
            if member.ended_s is None:
                member.ended_s = now_s
            return now_s - member.ended_s > _ON_ITS_WAY_S
        return now_s - member.heard_s > self._silent_s


def _member(resource: Mapping[str, Any]) -> _Member:
    pid = resource.get(semconv.PROCESS_PID)
    member = _Member(rank=None, owns_run=False, pid=None, started="")
    if isinstance(pid, int) and resource.get(semconv.HOST_NAME) == platform.node():
        try:
            member.pid, member.started = pid, started(pid)
        except (psutil.Error, OSError):
            # In a container of its own, the process has another pid than the one that is seen from here.
            member.pid = None
    return member
