"""How far the life of a run in the relay is, and what is answered to requests that come after its end."""

from __future__ import annotations

import enum

from tracelet_otel.errors import TraceletError


class Phase(enum.IntEnum):
    """How far the life of a run in the relay is. It goes from one to the next, and back to the first by `reopen`."""

    OPEN = enum.auto()
    """It takes what all of its processes send."""
    ENDED = enum.auto()
    """Its owner has ended it. What other ranks have on the way is still taken."""
    CLOSING = enum.auto()
    """It takes no more. What it has is delivered, and it is ended in each tracker."""
    CLOSED = enum.auto()
    """Each tracker has all of it, or was given up."""


class EndedError(TraceletError):
    """The run is closed. The same request may succeed later, once a sidecar has opened the run again."""


class TooLateError(TraceletError):
    """The run is closed, and will never accept more from a process that does not own it."""
