"""What a run answers to requests that come after its end."""

from __future__ import annotations

from tracelet_otel.errors import TraceletError


class EndedError(TraceletError):
    """The run takes no more."""


class TooLateError(TraceletError):
    """The run takes no more of a process that does not own it, and never will."""
