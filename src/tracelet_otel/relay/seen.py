"""Which numbers of a sequence have been there: a set of integers, kept as ranges."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable


class Seen:
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
