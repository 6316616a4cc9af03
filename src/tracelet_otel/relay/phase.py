"""The phases of a run in the relay, and the errors for requests that come after its end."""

from __future__ import annotations

import enum

from tracelet_otel.errors import TraceletError


class Phase(enum.IntEnum):
    """The phase of a run in the relay. A run goes from one to the next, and back to the first by `reopen`."""

    OPEN = enum.auto()
    """The run accepts what any of its processes sends."""
    ENDED = enum.auto()
    """The run's owner has ended it. What other ranks have sent, and has not arrived yet, is still accepted."""
    CLOSING = enum.auto()
    """The run accepts no more. What it has is being delivered, and it is being ended in each tracker."""
    CLOSED = enum.auto()
    """Each tracker has everything, or was given up."""


class EndedError(TraceletError):
    """The run is closed. The same request may succeed later, once a sidecar has opened the run again."""


class TooLateError(TraceletError):
    """The run is closed, and will never accept more from a process that does not own it."""
