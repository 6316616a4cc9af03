"""A set of integers that is kept as ranges: the sequence numbers of the samples that have come."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from typing import Any


class IntegerRanges:
    """A set of integers; it takes little memory as long as they have few gaps.

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
        """The number up to which all numbers from 1 on are in the set; 0 where 1 is not."""
        return self._lasts[0] if self._firsts and self._firsts[0] == 1 else 0

    def __len__(self) -> int:
        return sum(self._lasts) - sum(self._firsts) + len(self._firsts)

    def __contains__(self, number: int) -> bool:
        after = bisect_right(self._firsts, number)
        return bool(after) and number <= self._lasts[after - 1]

    def common(self, other: IntegerRanges) -> IntegerRanges:
        """The numbers that are in both sets."""
        pairs = []
        own_ranges, other_ranges = iter(self.ranges), iter(other.ranges)
        own, others = next(own_ranges, None), next(other_ranges, None)
        while own is not None and others is not None:
            first, last = max(own[0], others[0]), min(own[1], others[1])
            if first <= last:
                pairs.append((first, last))
            if own[1] < others[1]:
                own = next(own_ranges, None)
            else:
                others = next(other_ranges, None)
        return IntegerRanges(pairs)

    def add_all(self, first: int, last: int) -> bool:
        """Add all numbers from `first` to `last` if none of them is in the set; returns whether they were added."""
        after = bisect_right(self._firsts, last)
        if after and self._lasts[after - 1] >= first:
            return False
        joins_left = bool(after) and self._lasts[after - 1] == first - 1
        joins_right = after < len(self._firsts) and self._firsts[after] == last + 1
        if joins_left and joins_right:
            self._lasts[after - 1] = self._lasts.pop(after)
            del self._firsts[after]
        elif joins_left:
            self._lasts[after - 1] = last
        elif joins_right:
            self._firsts[after] = first
        else:
            self._firsts.insert(after, first)
            self._lasts.insert(after, last)
        return True

    def forget_below(self, number: int) -> None:
        """Remove the ranges that end below a number."""
        ended = bisect_left(self._lasts, number)
        del self._firsts[:ended], self._lasts[:ended]

    def add(self, number: int) -> bool:
        """Add a number; returns whether it is new."""
        return self.add_all(number, number)


Ranges = Mapping[str, list[tuple[int, int]]]
"""Sequence numbers of samples by their process, as first and last number of each range."""


def ranges(seen: Mapping[str, IntegerRanges]) -> Ranges:
    """Sets of sequence numbers by process, in the form in which a journal keeps them."""
    return {process: one.ranges for process, one in seen.items()}


def seen_of(samples: Ranges) -> dict[str, IntegerRanges]:
    """Sets of sequence numbers by process, read from the form in which a journal keeps them."""
    return {process: IntegerRanges((first, last) for first, last in pairs) for process, pairs in samples.items()}


def stored(state: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Values that a journal has of each process, or of each rank.

    Each has a key of its own, so that a request rewrites only those of the processes that it came from. Older journals
    have one value for all.

    Args:
        state: the state of a journal.
        name: what the values are, as in `seen`.
    """
    own = {key.removeprefix(f"{name}/"): value for key, value in state.items() if key.startswith(f"{name}/")}
    return {key: value for key, value in {**state.get(name, {}), **own}.items() if value is not None}


def to_store(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The keys and values of a journal's state from which `stored` reads these."""
    return {f"{name}/{key}": value for key, value in values.items()}
