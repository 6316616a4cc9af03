"""The run that another run is a part of: of the script whose trainer, or whose worker, has begun that one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tracelet_otel.session.calls import Address


@dataclass(frozen=True)
class Parent:
    """A run as its children know it."""

    run_id: str
    name: str
    """Name of the run, for people."""
    find: Callable[[], Address]
    """Returns the address of the run's relay at this moment. Raises `RunLostError` where the run is over."""
