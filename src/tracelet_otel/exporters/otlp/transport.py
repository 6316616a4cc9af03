"""The interface of the protocols: a `Transport` makes one attempt to send a request, and returns the result."""

from __future__ import annotations

import contextlib
import email.utils
import enum
import math
from collections.abc import Container, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, entry_points, version
from typing import Any, Final, Protocol

from google.protobuf.message import DecodeError

from tracelet_otel._support.guard import Guard
from tracelet_otel.errors import ConfigurationError
from tracelet_otel.exporters.otlp.backlog import Body
from tracelet_otel.exporters.otlp.signals import METRICS, OtlpSignal


def _user_agent() -> str:
    try:
        return f"tracelet-otel/{version('tracelet-otel')}"
    except PackageNotFoundError:
        # Of a copy that was not installed.
        return "tracelet-otel"


USER_AGENT: Final = _user_agent()
"""Source: OTLP exporter specification, "User Agent"."""
MOST_WORDS: Final = 500
"""Most characters of a receiver's answer that are logged."""
_PROVIDERS: Final = "opentelemetry_otlp_credential_provider"
"""Entry point group of credential providers. Source: OpenTelemetry SDK, environment variables."""


class Verdict(enum.Enum):
    """What happens to a request after an attempt."""

    DELIVERED = enum.auto()
    REFUSED = enum.auto()
    """The receiver will never accept the request."""
    DOUBTFUL = enum.auto()
    """The receiver has failed, possibly because of the request's content: the number of attempts is limited."""
    KEPT = enum.auto()
    """The request is not the cause, since the receiver did not answer or denied access: it is sent again."""
    LOST = enum.auto()
    """The receiver no longer exists, for this request or any other."""
    UNKNOWN = enum.auto()
    """The receiver does not know the signal, and may do without it. For any other signal the request is kept."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of an attempt."""

    verdict: Verdict
    reason: str = ""
    """Why the request was not delivered, in the receiver's words; empty where there is nothing to report."""
    pause_s: float | None = None
    """Seconds after which the receiver asks for the next attempt; None where it does not say."""


def verdict_of(code: Any, refused: Container[Any], doubtful: Container[Any]) -> Verdict:
    """What happens to a request to which a receiver answers with an error.

    Args:
        code: the answer's status code.
        refused: codes of a request that the receiver will never accept.
        doubtful: codes of a receiver that has failed, possibly because of the request.
    """
    if code in refused:
        return Verdict.REFUSED
    return Verdict.DOUBTFUL if code in doubtful else Verdict.KEPT


DELIVERED: Final = Answer(Verdict.DELIVERED)


class Transport(Protocol):
    """Sends to one receiver. `send` is called on one thread; `close` may be called on another, during it."""

    receiver: str
    """Name or address of the receiver, without secrets."""

    def send(self, body: Body) -> Answer:
        """Make one attempt to deliver a request."""
        ...

    def close(self) -> None:
        """Close connections. A call that hangs ends, where the protocol can do that."""
        ...


def report_rejected(response: Any, guard: Guard, signal: OtlpSignal = METRICS) -> None:
    """Report data points or spans that a receiver has rejected from a request that it has otherwise accepted.

    Source: OTLP specification, "Partial Success".

    Args:
        response: the receiver's response, as a message or in protobuf form.
        guard: reports what was rejected.
        signal: what was sent.
    """
    try:
        known = signal.response.FromString(response) if isinstance(response, bytes) else response
    except DecodeError:
        return  # an answer in another form does not report rejected points
    part = known.partial_success
    if number := getattr(part, signal.rejected):
        reason = f"{number} {signal.rejected.rpartition('_')[2]} were rejected: {part.error_message}"
        guard.report("the OTLP endpoint has taken an export in part only", reason)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds after which a receiver asks for the next attempt; None where it does not say.

    Source: RFC 9110, "Retry-After".

    Args:
        headers: those of the receiver's answer, whatever the case of their names.
    """
    value = headers.get("retry-after")
    if value is None:
        return None
    with contextlib.suppress(ValueError):
        seconds = float(value)
        return max(seconds, 0.0) if math.isfinite(seconds) else None
    with contextlib.suppress(TypeError, ValueError, KeyError):
        # The difference is taken by the receiver's own clock.
        then, now = (email.utils.parsedate_to_datetime(one) for one in (value, headers["date"]))
        return max((then - now).total_seconds(), 0.0)
    return None


def provided(name: str, kind: type[Any]) -> Any:
    """Get credentials from a credential provider.

    Args:
        name: name of the provider's entry point.
        kind: class that the credentials must have.

    Raises:
        ConfigurationError: there is no such provider, or its credentials are of another class.
    """
    found = next(iter(entry_points(group=_PROVIDERS, name=name)), None)
    if found is None:
        raise ConfigurationError(f"there is no credential provider {name!r} in the entry points of {_PROVIDERS}")
    made = found.load()()
    if not isinstance(made, kind):
        raise ConfigurationError(f"credential provider {name!r} gives {type(made).__name__}, not {kind.__name__}")
    return made
