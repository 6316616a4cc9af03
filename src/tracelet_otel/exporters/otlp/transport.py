"""One attempt to hand a request to a receiver, and what the receiver answers. Each protocol is a `Transport`."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points, version
from typing import Any, Final, Protocol

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

from tracelet_otel._support.guard import Guard
from tracelet_otel.errors import ConfigurationError
from tracelet_otel.exporters.otlp.backlog import Body

USER_AGENT: Final = f"tracelet-otel/{version('tracelet-otel')}"
"""Source: OTLP exporter specification, "User Agent"."""
MOST_WORDS: Final = 500
"""Characters of a receiver's answer that are passed on."""
_PROVIDERS: Final = "opentelemetry_otlp_credential_provider"
"""The entry point group of what makes credentials. Source: OpenTelemetry SDK, environment variables."""


class Verdict(enum.Enum):
    """What is to become of a request after an attempt."""

    DELIVERED = enum.auto()
    REFUSED = enum.auto()
    """The receiver will never accept it."""
    DOUBTFUL = enum.auto()
    """The receiver has failed, and what the request holds may be why."""
    KEPT = enum.auto()
    """The request is not to blame: nobody answered, or nobody is let in."""
    LOST = enum.auto()
    """There is no receiver any more, for this request or any other."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How an attempt ended."""

    verdict: Verdict
    reason: str = ""
    """Why the request was not delivered, in the receiver's words; empty where that is nothing to report."""
    pause_s: float | None = None
    """Seconds after which the receiver wants the next attempt; None where it does not say."""


DELIVERED: Final = Answer(Verdict.DELIVERED)


class Transport(Protocol):
    """Sends to one receiver. `send` is called on one thread; `close` may be called on another, during it."""

    receiver: str
    """Who it sends to, as it may be shown."""

    def send(self, body: Body) -> Answer:
        """Try once to deliver a request."""
        ...

    def close(self) -> None:
        """Let go of connections. A call that hangs ends, where the protocol can do that."""
        ...


def report_rejected(response: bytes | ExportMetricsServiceResponse, guard: Guard) -> None:
    """Report the points that a receiver says it has not accepted of a request that it has.

    Source: OTLP specification, "Partial Success".
    """
    try:
        known = ExportMetricsServiceResponse.FromString(response) if isinstance(response, bytes) else response
    except DecodeError:
        return  # an answer of another form says nothing of the kind
    part = known.partial_success
    if part.rejected_data_points:
        reason = f"{part.rejected_data_points} points were rejected: {part.error_message}"
        guard.report("the OTLP endpoint has taken an export in part only", reason)


def provided(name: str, kind: type[Any]) -> Any:
    """The credentials of the provider with a name.

    Args:
        name: of the provider's entry point.
        kind: what it has to give.

    Raises:
        ConfigurationError: there is no such provider, or it gives something else.
    """
    found = next(iter(entry_points(group=_PROVIDERS, name=name)), None)
    if found is None:
        raise ConfigurationError(f"there is no credential provider {name!r} in the entry points of {_PROVIDERS}")
    made = found.load()()
    if not isinstance(made, kind):
        raise ConfigurationError(f"credential provider {name!r} gives {type(made).__name__}, not {kind.__name__}")
    return made


def header_map(headers: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    """Headers of each request: those of the user win."""
    return {"user-agent": USER_AGENT, **dict(headers)}
