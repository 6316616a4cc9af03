"""Which numbers of a sequence have been there: a set of integers, kept as ranges."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping


class IntegerRanges:
    """Integers that have been added; small as long as they come mostly without gaps.

    Args:
        ranges: first and last number of each range, as `ranges` gives them.
    """

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        pairs = sorted(ranges)
        self._firsts = [first for first, _ in pairs]
        self._lasts = [last for _, last in pairs]

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """First and last number of each range, in order."""
        return list(zip(self._firsts, self._lasts, strict=True))

    @property
    def complete_to(self) -> int:
        """All numbers from 1 to this one are there."""
        return self._lasts[0] if self._firsts and self._firsts[0] == 1 else 0

    def __contains__(self, number: int) -> bool:
        after = bisect_right(self._firsts, number)
        return bool(after) and number <= self._lasts[after - 1]

    def has_all(self, first: int, last: int) -> bool:
        """Whether a whole range is there."""
        after = bisect_right(self._firsts, first)
        return bool(after) and last <= self._lasts[after - 1]

    def common(self, other: IntegerRanges) -> IntegerRanges:
        """Numbers that are in both."""
        pairs = []
        ours, theirs = iter(self.ranges), iter(other.ranges)
        mine, yours = next(ours, None), next(theirs, None)
        while mine is not None and yours is not None:
            first, last = max(mine[0], yours[0]), min(mine[1], yours[1])
            if first <= last:
                pairs.append((first, last))
            if mine[1] < yours[1]:
                mine = next(ours, None)
            else:
                yours = next(theirs, None)
        return IntegerRanges(pairs)

    def add(self, number: int) -> bool:
        """Add a number; returns whether it is new."""
        after = bisect_right(self._firsts, number)
        if after and number <= self._lasts[after - 1]:
            return False
        joins_left = bool(after) and self._lasts[after - 1] == number - 1
        joins_right = after < len(self._firsts) and self._firsts[after] == number + 1
        if joins_left and joins_right:
            self._lasts[after - 1] = self._lasts.pop(after)
            del self._firsts[after]
        elif joins_left:
            self._lasts[after - 1] = number
        elif joins_right:
            self._firsts[after] = number
        else:
            self._firsts.insert(after, number)
            self._lasts.insert(after, number)
        return True


Ranges = Mapping[str, list[tuple[int, int]]]
"""Samples by their process, as first and last number of each range."""


def ranges(seen: Mapping[str, IntegerRanges]) -> Ranges:
    """Samples by process, as a journal keeps them."""
    return {process: one.ranges for process, one in seen.items()}


def seen_of(samples: Ranges) -> dict[str, IntegerRanges]:
    """What a journal keeps, by process."""
    return {process: IntegerRanges((first, last) for first, last in pairs) for process, pairs in samples.items()}
