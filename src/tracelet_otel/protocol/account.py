"""How far the delivery to one backend is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Account:
    """What became of the readings that one backend was to take; a reading is one value of one metric at one step."""

    delivered: int
    """How many it has taken."""
    refused: int
    """How many it will never have: it has refused them, or there was no room for them."""
    pending: int
    """How many it has yet to take."""
    problem: str | None
    """Why something is pending or was refused, in the tracker's words."""
