"""The data of the merge: samples of ranks, and the match to which a sample belongs. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from tracelet_otel.protocol.decode import Reading

RankSet = int
"""A set of ranks: bit N is set where rank N is in it. So what a match costs hardly grows with the number of ranks."""


def numbers(ranks: RankSet) -> Iterator[int]:
    """The ranks in a set, the lowest first."""
    while ranks:
        lowest = ranks & -ranks
        yield lowest.bit_length() - 1
        ranks ^= lowest


class Source(NamedTuple):
    """Identifies one sample of one process."""

    process: str
    sequence: int
    part: int
    """Where the journal has it: the id of a row of `unmerged`."""


class Part(NamedTuple):
    """What one rank has contributed to a match."""

    reading: Reading
    source: Source
    row: int
    """Number of the row in which the rank logged it."""
    matches: deque[Match]
    """The matches to which this process of the rank has contributed, in order."""


@dataclass(frozen=True, slots=True)
class Merged:
    """The one value that a match has become."""

    reading: Reading
    sources: list[Source]
    """The samples that it is made of."""
    lacks: RankSet = 0
    """Ranks whose value is missing, though they run and have logged this name before."""


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
    everyone: RankSet
    """The ranks that train together."""
    since_s: float
    """Time of its first sample."""
    parts: dict[int, Part] = field(default_factory=dict)
    """What each rank has contributed."""
    have: RankSet = 0
    """The ranks that have contributed."""
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

    @property
    def missing(self) -> RankSet:
        """The ranks that have not contributed."""
        return self.everyone & ~self.have


@dataclass(slots=True)
class Held:
    """Readings of one process that cannot be matched yet, since earlier ones of it have not come."""

    since_s: float
    """Since when there are any."""
    readings: list[tuple[int, int, Reading, int, int]] = field(default_factory=list)
    """A heap of sequence number, tie-breaker, reading, rank and part."""
