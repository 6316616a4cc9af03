"""Remembers which rows W&B's client has taken already, so that none is lost or logged twice where a process dies."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from tracelet_otel.exporters.wandb.rows import cells

_RECENT_S: Final = 5.0
"""Seconds for which a row that was not seen in the file is remembered."""


class SentRows:
    """The rows that W&B's client has taken, as far as it matters."""

    def __init__(self) -> None:
        self._there: Counter[Any] = Counter()
        """Values that are not to be logged again where they come again, as `cells` returns them."""
        self._recent: deque[tuple[float, dict[str, Any]]] = deque()
        """Rows of which it is not known whether they are in the file, each with the time when it was logged."""

    def add(self, row: dict[str, Any]) -> None:
        """Remember a row that was logged."""
        self._recent.append((time.monotonic(), row))

    def seen(self) -> None:
        """Forget all rows that were added, because they are in the file."""
        self._recent.clear()

    def unseen(self) -> None:
        """Forget those that wandb-core has had the time to write, because the file cannot be seen."""
        while self._recent and self._recent[0][0] < time.monotonic() - _RECENT_S:
            self._recent.popleft()

    def continued(self, in_file: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Begin anew with the rows at the end of the last process's file; readings are sent again from there on.

        Returns:
            Rows that are not in the file, and have to be logged again.
        """
        self._there = _cells_of(in_file)
        missing = list(self.without_known([row for _, row in self._recent]))
        # The batch during which wandb-core died is sent again.
        self._there = _cells_of((*in_file, *(row for _, row in self._recent)))
        return missing

    def without_known(self, made: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """The rows, each without what was logged already."""
        if not self._there:
            yield from made
            return
        for row in made:
            known = {cell[0] for cell in cells(row) if self._there[cell] > 0}
            self._there -= Counter(cell for cell in cells(row) if cell[0] in known)
            if len(known) < len(cells(row)):
                yield {name: value for name, value in row.items() if name not in known}


def _cells_of(rows: Iterable[dict[str, Any]]) -> Counter[Any]:
    return Counter(cell for row in rows for cell in cells(row))
