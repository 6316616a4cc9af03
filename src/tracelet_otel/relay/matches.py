"""The data of the merge: the match to which a sample belongs, and what is known of each rank. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NamedTuple

from tracelet_otel.protocol.decode import Reading


class Source(NamedTuple):
    """Identifies one sample of one process."""

    process: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Merged:
    """The one value that a match has become."""

    reading: Reading
    sources: tuple[Source, ...]
    """The samples that it is made of."""


@dataclass(frozen=True, slots=True)
class Late:
    """A sample that came after its match had been passed on without it; it is not merged."""

    reading: Reading
    rank: int
    source: Source


Result = list["Merged | Late"]
"""What a call of the merge has passed on, in order."""

Key = tuple[int, int, "int | None", str, str, str, int]
"""What the samples of a match have in common: generation (`Rank.generation`), training, epoch, name, stage, axis and
step."""


@dataclass(eq=False, slots=True)
class Match:
    """What ranks have logged for the same thing, one sample each."""

    key: Key
    world_size: int
    since_s: float
    """Time of its first sample."""
    parts: dict[int, tuple[Reading, Source]] = field(default_factory=dict)
    """The sample of each rank that has contributed."""
    rows: dict[int, int] = field(default_factory=dict)
    """Number of the row in which each of these ranks logged it."""
    released: bool = False
    """Whether it was passed on."""

    @property
    def training(self) -> int:
        """Number of the training in which it was logged."""
        return self.key[1]

    @property
    def name(self) -> str:
        """Name of the metric."""
        return self.key[3]


class NotAwaited(Enum):
    """Why a match does not wait for a rank that has not contributed to it."""

    IN_LATER_TRAINING = auto()
    """The rank has logged a value of a later training."""
    ENDED = auto()
    """The rank's process has ended in this training."""
    NEVER_HEARD = auto()
    """Nothing at all has come of the rank, for longer than such a rank is waited for."""
    DOES_NOT_LOG = auto()
    """A match of the same name has waited for the rank in vain, and the rank has not logged that name since."""


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
    does_not_log: set[str] = field(default_factory=set)
    """Names for which it was waited in vain, and which it has not logged since."""

    def reason_not_to_wait(self, match: Match) -> NotAwaited | None:
        """Why a match, to which this rank has not contributed, does not wait for it; None where it has to wait."""
        if self.training > match.training:
            return NotAwaited.IN_LATER_TRAINING
        if self.absent_through >= match.training:
            return NotAwaited.ENDED if self.ended else NotAwaited.NEVER_HEARD
        if match.name in self.does_not_log:
            return NotAwaited.DOES_NOT_LOG
        return None


@dataclass(slots=True)
class Held:
    """Readings of one process that cannot be matched yet, since earlier ones of it have not come."""

    since_s: float = 0.0
    """Since when there are any."""
    readings: list[tuple[int, int, Reading, int]] = field(default_factory=list)
    """A heap of sequence number, tie-breaker, reading and rank."""
