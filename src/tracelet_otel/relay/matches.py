"""What the merge knows of samples: to which match each belongs, and where each rank stands. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from tracelet_otel.protocol.decode import Reading


class Source(NamedTuple):
    """One sample of one process."""

    process: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Merged:
    """What the ranks say of one thing."""

    reading: Reading
    sources: tuple[Source, ...]
    """Of which samples it is made."""


@dataclass(frozen=True, slots=True)
class Late:
    """A sample that came after the others of its match had been passed on."""

    reading: Reading
    rank: int
    source: Source


Result = list["Merged | Late"]

Key = tuple[int, int, "int | None", str, str, str, int]


@dataclass(eq=False, slots=True)
class Match:
    """What ranks have logged for the same thing, one sample each."""

    key: Key
    world_size: int
    since_s: float
    parts: dict[int, tuple[Reading, Source]] = field(default_factory=dict)
    rows: dict[int, int] = field(default_factory=dict)
    """Number of the row in which each rank logged it."""
    released: bool = False

    @property
    def training(self) -> int:
        """In which it was logged."""
        return self.key[1]

    @property
    def name(self) -> str:
        """Of the metric."""
        return self.key[3]


@dataclass(slots=True)
class Rank:
    """What is known of a rank."""

    process: str | None = None
    """The one that was heard last."""
    generation: int = 0
    """How often the ranks had been started again when that process was."""
    training: int = 0
    row: int = 0
    at: tuple[int, str, str, int, int] | None = None
    """Training, stage, axis, step and time of its current row."""
    names: set[str] = field(default_factory=set)
    """Of its current row."""
    matches: deque[Match] = field(default_factory=deque)
    """To which it has contributed, in order, until something after them is complete."""
    sent_s: float = float("-inf")
    """When it sent its last value."""
    not_in: int = -1
    """Up to this training it is not waited for: it has ended, or nothing at all has come of it."""
    ended: bool = False
    """Whether it is not waited for because it has ended: then nothing comes late."""
    does_not_log: set[str] = field(default_factory=set)
    """Names for which it was waited in vain."""


@dataclass(slots=True)
class Held:
    """Readings of one process that are ahead of some which have not come."""

    since_s: float = 0.0
    """Since when there are any."""
    readings: list[tuple[int, int, Reading, int]] = field(default_factory=list)
