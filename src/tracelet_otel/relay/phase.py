"""The phases of a run in the relay, and the errors for requests that come after its end."""

from __future__ import annotations

import enum

from tracelet_otel.errors import TraceletError
from tracelet_otel.relay.news import News


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


def refusal_of(news: News, *, owned: bool, ended: bool) -> EndedError | TooLateError | None:
    """Check a request that came after the end. It may only repeat what is known, or report that a rank ends.

    Args:
        news: what the request adds to what is known.
        owned: whether it is from the run's owner.
        ended: whether the owner has ended the run.

    Returns:
        Why the request is refused; None where it is not.
    """
    if owned and (news.has_rows or news.says_more):
        return EndedError("the run has ended")
    if news.has_rows and ended:
        return TooLateError("rank 0 has ended the run")
    return EndedError("nothing has come for long: the run is being closed") if news.has_rows else None
