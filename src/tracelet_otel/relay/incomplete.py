"""Which merged values lack the value of a rank that runs: the relay was behind, or the rank could not send in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final

from tracelet_otel._support.guard import Guard
from tracelet_otel.relay.matches import Late, Merged, numbers
from tracelet_otel.relay.ranges import IntegerRanges, ranges, seen_of, to_store

_MOST_NAMES: Final = 20
_MOST_RANGES: Final = 10
"""How many names, and ranges of steps of each, an error lists."""


class Incomplete:
    """The merged values of one run that lack a rank, by name and step. Not thread-safe.

    Args:
        guard: the first one of each name is reported at once.
        steps: those that an earlier relay of the run has noted, as the journal has them.
    """

    def __init__(self, guard: Guard, steps: Mapping[str, Sequence[Sequence[int]]]) -> None:
        self._guard = guard
        self._steps = seen_of({name: [(first, last) for first, last in pairs] for name, pairs in steps.items()})
        self._changed: set[str] = set()
        self.found = 0
        """How many values this relay has added to them."""
        self.late = 0
        """How many samples have come to this relay when those of the other ranks had been merged without them."""

    @property
    def count(self) -> int:
        """How many values there are, those of one name and step as one."""
        return sum(len(steps) for steps in self._steps.values())

    @property
    def errors(self) -> dict[str, int]:
        """The values as a run's errors: a sentence for each name, and how many there are of it."""
        return {
            f"{name!r} lacks values of ranks at {_words(steps)}": len(steps)
            for name, steps in islice(self._steps.items(), _MOST_NAMES)
        }

    def note(self, merged: Merged) -> None:
        """Take note of a value that was merged without ranks that run and have logged this name before."""
        reading, lacking = merged.reading, list(numbers(merged.lacks))
        if self._note(reading.name, reading.step):
            more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
            reason = f"it had waited too long (rank_timeout) for rank {lacking[0]}{more}; step {reading.step}"
            self._guard.report(f"a value of {reading.name!r} was merged without ranks that run", reason)

    def note_late(self, late: Late) -> None:
        """Take note of a value that came when those of the other ranks had been merged without it."""
        self.late += 1
        self._note(late.reading.name, late.reading.step)
        self._guard.report(
            f"values of {late.reading.name!r} came too late to be merged",
            f"the others' were passed on before, for they had waited too long (rank_timeout); rank {late.rank}, step "
            f"{late.reading.step}",
        )

    def changes(self) -> dict[str, Any]:
        """State for the journal to store, of what has changed since the last call."""
        changed = {name: self._steps[name] for name in self._changed}
        self._changed.clear()
        return to_store("incomplete", ranges(changed))

    def _note(self, name: str, step: int) -> bool:
        is_new = self._steps.setdefault(name, IntegerRanges()).add(step)
        if is_new:
            self.found += 1
            self._changed.add(name)
        return is_new


def _words(steps: IntegerRanges) -> str:
    shown = [str(first) if first == last else f"{first} to {last}" for first, last in steps.ranges]
    more = f" and {len(shown) - _MOST_RANGES} more ranges" if len(shown) > _MOST_RANGES else ""
    is_one = len(steps) == 1
    return f"{'step' if is_one else 'steps'} {', '.join(shown[:_MOST_RANGES])}{more}"
