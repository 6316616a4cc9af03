"""State of the delivery to one backend."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Account:
    """How many readings one backend has taken or not. A reading is one value of one metric at one step."""

    delivered: int
    """Readings that it has taken."""
    refused: int
    """Readings that it will never have, since it has refused them or there was no room for them."""
    pending: int
    """Readings that it has yet to take."""
    problem: str | None
    """Why readings are pending or were refused, in the tracker's words."""
    incomplete: int = 0
    """Values, among all of these, that were merged without a rank that runs, whose own came too late or never."""
