"""How a table of figures is written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def grid(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, the first column to the left and all others to the right."""
    rows = [header, ["---", *["---:"] * (len(header) - 1)], *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"
