"""Pauses between attempts."""

from __future__ import annotations

import random
from typing import Final

_random: Final = random.Random()  # noqa: S311  # for pauses
"""Of its own: Python's global generator is the training's."""


def spread(pause_s: float) -> float:
    """Half of some seconds, up to all of them: many who have failed at once do not all come back at once."""
    return pause_s * _random.uniform(0.5, 1.0)
