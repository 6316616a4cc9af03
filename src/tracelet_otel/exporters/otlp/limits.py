"""How much a sender sends at once and keeps, and how long is waited for it."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits of one sender."""

    request_bytes: int
    """Largest request, not compressed; a larger one is divided."""
    backlog_bytes: int = 32 * 2**20
    """Memory that waiting requests may take: compressed, about 2,000,000 samples."""
    patience_s: float = math.inf
    """Whoever waits for the delivery gives up after this many seconds in which nothing was delivered."""
    what: str = "values"
    """What a request has several of, in messages and in the place at which errors are counted."""
