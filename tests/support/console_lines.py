"""Lines of several ranks that are shown together, told apart."""

from __future__ import annotations

import re
from collections.abc import Iterable


def by_rank(lines: Iterable[str]) -> dict[int, list[str]]:
    """Lines by rank, in their order."""
    found: dict[int, list[str]] = {}
    for line in lines:
        rank = re.match(r"\[rank (\d+)\] ", line)
        found.setdefault(int(rank[1]) if rank else 0, []).append(line[rank.end() if rank else 0 :])
    return found
