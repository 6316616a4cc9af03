"""Which merged values lack the value of a rank that runs: the relay was behind, or the rank could not send in time."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tracelet_otel._support.guard import Guard
from tracelet_otel.relay.matches import Late, Merged, numbers
from tracelet_otel.relay.ranges import IntegerRanges, to_store

_MOST_NAMES: Final = 20
_MOST_RANGES: Final = 10
"""How many names, and ranges of steps of each, are listed."""
_MOST_RECENT: Final = 1_000
"""How many steps of a name are remembered beyond those that are listed, so that each counts once."""


class Incomplete:
    """The merged values of one run that lack a rank, by name and step. Thread-safe.

    Args:
        guard: the first one of each name is reported at once.
        steps: what an earlier relay of the run has noted of each name, as the journal has it.
    """

    def __init__(self, guard: Guard, steps: Mapping[str, Sequence[Any]]) -> None:
        self._guard = guard
        # Whoever asks for the run's status does so while values are noted on another thread.
        self._lock = threading.Lock()
        self._steps = {name: _Steps(*state) for name, state in steps.items()}
        self._found_before = sum(steps.count for steps in self._steps.values())
        self._changed: set[str] = set()
        self.found = 0
        """How many values this relay has added to them."""
        self.late = 0
        """How many samples have come to this relay when those of the other ranks had been merged without them."""

    @property
    def count(self) -> int:
        """How many values there are, those of one name and step as one."""
        return self._found_before + self.found

    @property
    def errors(self) -> dict[str, int]:
        """The values as a run's errors: a sentence for each name, and how many there are of it."""
        with self._lock:
            listed = list(self._steps.items())[:_MOST_NAMES]
            errors = {f"{name!r} lacks values of ranks at {steps}": steps.count for name, steps in listed}
            rest = len(self._steps) - len(listed)
            if rest:
                errors[f"{rest} more names lack values of ranks"] = self.count - sum(errors.values())
            return errors

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
        with self._lock:
            changed = {name: self._steps[name].state for name in self._changed}
            self._changed.clear()
        return to_store("incomplete", changed)

    def _note(self, name: str, step: int) -> bool:
        with self._lock:
            is_new = self._steps.setdefault(name, _Steps()).add(step)
            if is_new:
                self.found += 1
                self._changed.add(name)
            return is_new


class _Steps:
    """The steps at which one name lacks a rank: how many there are, and which the first of them are.

    What is stored of them does not grow with the run.

    Args:
        count: how many there are.
        listed: the first of them, as first and last step of each range.
    """

    def __init__(self, count: int = 0, listed: Sequence[Sequence[int]] = ()) -> None:
        self.count = count
        self._listed = IntegerRanges((first, last) for first, last in listed)
        self._recent: dict[int, None] = {}
        """The last of those that are not listed, in the order in which they were added."""

    def __str__(self) -> str:
        """The steps in words."""
        listed = [str(first) if first == last else f"{first} to {last}" for first, last in self._listed.ranges]
        more = self.count - len(self._listed)
        return f"{'step' if self.count == 1 else 'steps'} {', '.join(listed)}{f' and {more} more' if more else ''}"

    @property
    def state(self) -> list[Any]:
        """The arguments that make the same steps again."""
        return [self.count, self._listed.ranges]

    def add(self, step: int) -> bool:
        """Add a step; returns whether it is new, as far as that is remembered."""
        if step in self._listed or step in self._recent:
            return False
        self.count += 1
        joins = step - 1 in self._listed or step + 1 in self._listed
        if joins or len(self._listed.ranges) < _MOST_RANGES:
            self._listed.add(step)
        else:
            self._recent[step] = None
            if len(self._recent) > _MOST_RECENT:
                del self._recent[next(iter(self._recent))]
        return True
