"""Pauses between retries."""

from __future__ import annotations

import random
from typing import Final

_random: Final = random.Random()  # noqa: S311  # for pauses
"""A generator of our own: Python's global one belongs to the training."""


def spread(pause_s: float) -> float:
    """Draw a pause, so that clients that failed at the same time do not all retry at the same time.

    Args:
        pause_s: the longest pause in seconds.

    Returns:
        Seconds, from half of the longest pause up to all of it.
    """
    return pause_s * _random.uniform(0.5, 1.0)
