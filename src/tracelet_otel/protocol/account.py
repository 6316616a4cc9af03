"""How far the delivery to one backend is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Account:
    """What became of the readings that one backend was to take."""

    delivered: int
    refused: int
    pending: int
    problem: str | None
    """Why something is pending or was refused, in the tracker's words."""
