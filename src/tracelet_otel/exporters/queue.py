"""The readings that one tracker has yet to take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tracelet_otel.protocol.decode import Reading


class Queue(Protocol):
    """A queue with one consumer. Readings may be added on another thread."""

    @property
    def delivered(self) -> int:
        """How many readings the tracker has taken since the beginning of the run."""
        ...

    @property
    def refused(self) -> int:
        """How many readings it will never have: it has refused them, or there was no room for them."""
        ...

    @property
    def pending(self) -> int:
        """How many readings wait."""
        ...

    def first(self, most: int) -> Sequence[Reading]:
        """The next readings, up to a number; they stay in the queue.

        Raises:
            TraceletError: they cannot be read.
        """
        ...

    def take(self, delivered: int, refused: int) -> None:
        """Drop readings from the front, all of which `first` has given.

        Args:
            delivered: how many the tracker has taken.
            refused: how many it will never take.
        """
        ...

    def lose(self) -> None:
        """Count all that waits, and all that comes, as refused, since the tracker accepts nothing more."""
        ...
