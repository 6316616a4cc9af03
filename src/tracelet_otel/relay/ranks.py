"""What the merge knows of the ranks of a run: for which of them a match has to wait, and which it lacks. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from tracelet_otel.protocol.decode import Reading
from tracelet_otel.relay.matches import Match, RankSet


@dataclass(slots=True)
class Rank:
    """What is known of a rank."""

    process: str | None = None
    """The process from which something came last; None where nothing at all has come of this rank."""
    generation: int = 0
    """How often the ranks had been started again when that process was started."""
    training: int = 0
    """The latest training of which it has logged a value."""
    row: int = 0
    """Number of its current row; a row is what a rank logs at one time, each name once."""
    at: tuple[int, str, str, int, int] | None = None
    """Training, stage, axis, step and time of its current row."""
    names: set[str] = field(default_factory=set)
    """Names in its current row."""
    matches: deque[Match] = field(default_factory=deque)
    """Matches to which it has contributed, in order; those at the front are removed once they are passed on."""
    sent_s: float = float("-inf")
    """When it sent its last value."""
    absent_through: int = -1
    """It is not waited for in trainings up to this one: it has ended, or nothing at all has come of it."""
    ended: bool = False
    """Whether `absent_through` says that it has ended; then nothing of those trainings comes late."""

    def log(self, reading: Reading) -> None:
        """Take note of a value that it has logged, and of the row in which that was."""
        # Ranks may log the names of a row in different orders, so only whole rows tell what comes before what.
        at = (reading.training, reading.stage, reading.axis, reading.step, reading.time_unix_nano)
        if at != self.at or reading.name in self.names:
            self.row += 1
            self.at = at
            self.names = set()
        self.names.add(reading.name)


class _Absent(NamedTuple):
    """Ranks for which the matches of a training do not wait, whatever their name is."""

    ranks: RankSet
    """They have another process now, have logged a value of a later training, have ended, or nothing at all has come of
    them for too long."""
    gone: RankSet
    """Those of them that send nothing more of that training: they are in a later one, or have ended."""
    replaced: RankSet
    """Those of them that have another process now. Values of the process before may still be on their way."""


class Ranks:
    """The ranks of one run. Sets of them are kept, so that a match costs the same whatever their number."""

    def __init__(self) -> None:
        self._ranks: dict[int, Rank] = {}
        self.heard: RankSet = 0
        """The ranks of which anything has come."""
        self._absent: dict[tuple[int, int], _Absent] = {}
        """By generation and training. It is emptied when the state of a rank changes, and made again when needed."""
        self._replaced: dict[str, Rank] = {}
        """By process, what is known of those whose rank has another process now."""
        self._logged: dict[str, RankSet] = {}
        """By name, the ranks that have logged it."""
        self._silent: dict[str, RankSet] = {}
        """By name, the ranks for which a match has waited in vain, and which have not logged the name since."""

    def __getitem__(self, number: int) -> Rank:
        rank = self._ranks.get(number)
        if rank is None:
            rank = self._ranks[number] = Rank()
        return rank

    def of(self, process: str, number: int) -> Rank:
        """What is known of a rank, as the rank of one of its processes."""
        return (self._replaced.get(process) if self._replaced else None) or self[number]

    def is_replaced(self, process: str) -> bool:
        """Whether the rank of a process has another process now."""
        return process in self._replaced

    def renew(self, number: int, process: str, generation: int) -> None:
        """Take note that a rank has a process, its first one or another one."""
        before = self[number]
        if before.process is not None:
            self._replaced[before.process] = before
            self._ranks[number] = Rank()
            for name in self._silent:
                self._silent[name] &= ~(1 << number)
        self[number].process, self[number].generation = process, generation
        self.heard |= 1 << number
        self._absent.clear()

    def log(self, rank: Rank, number: int, reading: Reading) -> bool:
        """Take note of a value that a rank has logged.

        Args:
            rank: what `of` gives for the process that has logged it.
            number: its number.
            reading: the value.

        Returns:
            Whether the rank has begun another training.
        """
        rank.log(reading)
        if rank is not self._ranks[number]:
            return False
        bit, name = 1 << number, reading.name
        self._logged[name] = self._logged.get(name, 0) | bit
        if self._silent.get(name, 0) & bit:
            self._silent[name] &= ~bit
        begins = reading.training > rank.training
        if begins or rank.absent_through >= reading.training:
            self._absent.clear()
        if rank.absent_through >= reading.training:
            # It is back.
            rank.absent_through, rank.ended = reading.training - 1, False
        rank.training = max(rank.training, reading.training)
        return begins

    def leave(self, number: int, training: int, *, ended: bool) -> None:
        """Take note that a rank is not waited for in trainings up to this one.

        Args:
            number: the rank.
            training: number of the training.
            ended: whether it has ended; if not, nothing at all has come of it.
        """
        rank = self[number]
        rank.absent_through, rank.ended = training, ended or rank.ended
        self._absent.clear()

    def wait_no_more(self, number: int, name: str) -> None:
        """Take note that a match has waited for a rank in vain; matches of this name do so again once it logs that."""
        self._silent[name] = self._silent.get(name, 0) | 1 << number

    def awaited(self, match: Match) -> RankSet:
        """Ranks for which a match has to wait."""
        return match.missing & ~self._absent_from(match).ranks & ~self._silent.get(match.name, 0)

    def may_still_send(self, match: Match) -> RankSet:
        """Ranks that have not contributed to a match, and may do so."""
        return match.missing & ~self._absent_from(match).gone

    def lacked_by(self, match: Match) -> RankSet:
        """Ranks that have not contributed to a match, though they run and log this name."""
        absent = self._absent_from(match)
        return match.missing & ~absent.gone & ~absent.replaced & self._logged.get(match.name, 0)

    def log_no_more(self, ranks: RankSet, name: str) -> None:
        """Take note that ranks do not log a name in each row, or no more: they are past a match of it."""
        if ranks & self._logged.get(name, 0):
            self._logged[name] &= ~ranks

    def of_processes(self, is_meant: Callable[[str], bool]) -> RankSet:
        """Ranks whose process a condition is true of."""
        of_process = ((number, rank.process) for number, rank in self._ranks.items())
        return sum(1 << number for number, process in of_process if process is not None and is_meant(process))

    def _absent_from(self, match: Match) -> _Absent:
        generation, training = match.key[:2]
        found = self._absent.get((generation, training))
        if found is None:
            absent, gone, replaced = 0, 0, 0
            for number, rank in self._ranks.items():
                if rank.generation != generation:
                    # A rank of an earlier generation is being started again, as those that have contributed were.
                    replaced |= (rank.generation > generation) << number
                elif rank.training > training or (rank.ended and rank.absent_through >= training):
                    gone |= 1 << number
                elif rank.absent_through >= training:
                    absent |= 1 << number
            found = self._absent[generation, training] = _Absent(absent | gone | replaced, gone, replaced)
        return found
