"""Collects rows of the same metric names, and turns them into one column for each time series."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tracelet_otel.instrumentation.series import Series, nonfinite_kind
from tracelet_otel.protocol.samples import Moment, Samples


class Table:
    """Rows whose metrics have the same names, in the same order.

    Most of the work is done once for each column of many rows, and not for each value.

    Args:
        names: names of the columns.
        series_of: returns the time series of a name, and of what `nonfinite_kind` returns for its values.
    """

    def __init__(self, names: Sequence[Any], series_of: Callable[[Any, str | None], Series]) -> None:
        self._names = names
        self._series_of = series_of
        self._finite = [series_of(name, None) for name in names]
        self._rows: list[tuple[Moment, int, Sequence[float]]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, moment: Moment, sequence: int, numbers: Sequence[float]) -> None:
        """Add a row.

        Args:
            moment: when and at which step it was logged.
            sequence: sequence number of its first value; those of the others follow.
            numbers: its values, in the order of the names.
        """
        self._rows.append((moment, sequence, numbers))

    def take(self) -> list[tuple[Series, Samples]]:
        """Remove all rows, and return them as samples of each time series."""
        taken = list(self._columns()) if self._rows else []
        # Cleared last: an interrupt before this leaves all rows in place.
        self._rows = []
        return taken

    def _columns(self) -> Iterator[tuple[Series, Samples]]:
        moments, firsts, numbers = zip(*self._rows, strict=True)
        for place, values in enumerate(zip(*numbers, strict=True)):
            samples = Samples(moments, [first + place for first in firsts], values)
            if math.isfinite(sum(values)):
                yield self._finite[place], samples
            else:
                for kind, part in _by_kind(samples):
                    yield self._series_of(self._names[place], kind), part


def _by_kind(samples: Samples) -> Iterator[tuple[str | None, Samples]]:
    """Separate finite values from each kind of others, which are counted: their value is 1."""
    kinds = [nonfinite_kind(value) for value in samples.values]
    for kind in dict.fromkeys(kinds):
        chosen = [place for place, one in enumerate(kinds) if one == kind]
        yield (
            kind,
            Samples(
                [samples.moments[place] for place in chosen],
                [samples.sequences[place] for place in chosen],
                [samples.values[place] if kind is None else 1 for place in chosen],
            ),
        )
