"""The processes of a run: which are there, and how each says that the run stands."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import psutil

from tracelet_otel import semconv
from tracelet_otel._support.processes import is_alive, started
from tracelet_otel.protocol.decode import Batch

_SILENT_S: Final = 30.0
"""A process that was not heard of for so long, or three intervals, and cannot be looked at, is gone."""
_LAST_WORD_S: Final = 2.0
"""For so long, or two intervals, the last rows of a process that does not train are waited for."""
_ON_ITS_WAY_S: Final = 10.0
"""For so long after a process has ended its last export may be on its way: collectors try again after seconds."""
_LOOK_S: Final = 1.0
_OWNER: Final = "owner"
_ON_PURPOSE: Final = (semconv.OUTCOME_INTERRUPTED, semconv.OUTCOME_FAILED, semconv.OUTCOME_TERMINATED)
"""What counts if any rank says it, the first of them most: where one rank is interrupted, others fail
for want of it; where one fails, its launcher terminates the others."""


@dataclass
class _Member:
    rank: int | None
    owns_run: bool
    pid: int | None
    """Where it is on this machine."""
    started: str
    heard_s: float = 0.0
    trains: bool = False
    """Whether more may come: it trains, or has rows to send."""
    left: bool = False
    ended_s: float | None = None
    """Since when it is known to be no more."""


class Members:
    """Processes of one run, each known since something came from it.

    Args:
        outcomes: what `outcomes` gave, in a relay before this one.
        export_interval_s: a process that is alive sends as often as that.
    """

    def __init__(self, outcomes: Mapping[str, str], export_interval_s: float = 1.0) -> None:
        self._members: dict[str, _Member] = {}
        self._silent_s = max(_SILENT_S, 3 * export_interval_s)
        self._last_word_s = max(_LAST_WORD_S, 2 * export_interval_s)
        # Of a relay before this one: their processes have yet to find this one.
        self._expected = {said for said, outcome in outcomes.items() if outcome == semconv.OUTCOME_RUNNING} - {_OWNER}
        self._expected_until_s: float | None = None
        self._looked_s = 0.0
        self._over: set[str] = set()
        self.outcomes = dict(outcomes)
        """The last one by rank, and the owner's."""

    @property
    def outcome(self) -> str | None:
        """The run's outcome so far; None where its owner has said nothing."""
        said = set(self.outcomes.values())
        return next((outcome for outcome in _ON_PURPOSE if outcome in said), self.outcomes.get(_OWNER))

    def reopen(self) -> None:
        """The run goes on: what was said of its end does not count any more."""
        self.outcomes.clear()
        self._over.clear()

    def hear(self, process: str, batch: Batch, now_s: float) -> None:
        """Something came from a process."""
        if self._was_overtaken(process, batch):
            return
        if batch.ended or batch.left:
            self._over.add(process)
        member = self._members.get(process)
        if member is None:
            member = self._members[process] = _member(batch.resource)
        member.heard_s = now_s
        member.rank = batch.rank if batch.rank is not None else member.rank
        member.owns_run = member.owns_run or batch.ended is not None
        member.left = batch.left
        if batch.outcome is not None:
            member.trains = (batch.outcome == semconv.OUTCOME_RUNNING and batch.has_trainer) or batch.queued > 0
        said = self.said(process, batch)
        self._expected -= said.keys()
        self.outcomes.update(said)

    def said(self, process: str, batch: Batch) -> dict[str, str]:
        """What a process says of the run's outcome, by rank or as its owner."""
        if batch.outcome is None or self._was_overtaken(process, batch):
            return {}
        return {_OWNER if self.owns_run(process, batch) else f"rank {batch.rank}": batch.outcome}

    def _was_overtaken(self, process: str, batch: Batch) -> bool:
        """Whether the last word of its process came before it, by another way."""
        return process in self._over and not (batch.ended or batch.left)

    def owns_run(self, process: str, batch: Batch) -> bool:
        """Whether something came from the run's owner."""
        # A part of a large export need not have the word that only an owner says.
        known = self._members.get(process)
        return batch.ended is not None or (known is not None and known.owns_run)

    def others_may_send(self, now_s: float, ended_s: float | None) -> bool:
        """Whether a process other than the owner is there that may have more to say.

        One that trains may, and one of which nothing has come since the owner's end.

        Args:
            now_s: the time.
            ended_s: when the owner has said that the run has ended, if it has.
        """
        if self._expected_until_s is None:
            self._expected_until_s = now_s + self._silent_s
        if self._expected and now_s < self._expected_until_s:
            return True
        return any(
            (member.trains or (ended_s is not None and member.heard_s <= ended_s < now_s < ended_s + self._last_word_s))
            and not member.left
            and not self._is_gone(member, now_s)
            for member in self._members.values()
            if not member.owns_run
        )

    def newly_left(self, is_complete: Callable[[str], bool]) -> list[int]:
        """Ranks that have said that they end, and were in no answer before.

        Args:
            is_complete: whether all has come that a process has sent.
        """
        return self._forget(lambda process, member: member.left and is_complete(process))

    def newly_gone(self, now_s: float) -> list[int]:
        """Ranks whose processes have ended without a word, and were in no answer before."""
        if now_s - self._looked_s < _LOOK_S:
            return []
        self._looked_s = now_s
        return self._forget(lambda _, member: self._is_gone(member, now_s))

    def _forget(self, has_ended: Callable[[str, _Member], bool]) -> list[int]:
        ended = {process: one for process, one in self._members.items() if not one.owns_run and has_ended(process, one)}
        for process in ended:
            del self._members[process]
        ranks = {member.rank for member in ended.values() if member.rank is not None}
        return sorted(rank for rank in ranks if not self._has(rank))

    def _has(self, rank: int) -> bool:
        return any(member.rank == rank for member in self._members.values())

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
            # In a container of its own its pid is another one here.
            member.pid = None
    return member
