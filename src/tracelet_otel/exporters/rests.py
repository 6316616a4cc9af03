"""How long a delivery rests between two calls of its tracker, while readings gather for the next one."""

from __future__ import annotations

from typing import Final

_RESTS: Final = 3
"""How many times as long as the last call took it rests."""
_LONGEST_REST_S: Final = 2.0
_REST_OF_EACH_S: Final = 0.04
"""It rests at least so long for each run: a tracker gets 25 calls a second at most from all runs of a relay."""
_REST_OF_FEW_S: Final = 0.2
"""And so long for each run beside it, up to the longest rest: a call costs much even with few readings, and takes the
time from a pool that trains."""


def rest_s(took_s: float, runs: int) -> float:
    """Seconds to rest after a call which took all that there was.

    Args:
        took_s: how long it took.
        runs: how many runs share this process and its trackers.
    """
    gathering_s = max(_RESTS * took_s, _REST_OF_FEW_S * (runs - 1))
    return max(min(gathering_s, _LONGEST_REST_S), _REST_OF_EACH_S * runs)
