"""Looks whether a receiver takes OTLP, by a request that has no data: for `tracelet-otel doctor`."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tracelet_otel._support.environment import environment
from tracelet_otel._support.findings import Finding, fine, problem
from tracelet_otel._support.guard import Guard
from tracelet_otel.errors import ConfigurationError
from tracelet_otel.exporters.otlp.backlog import Body
from tracelet_otel.exporters.otlp.exporter import transport_of
from tracelet_otel.exporters.otlp.settings import read
from tracelet_otel.exporters.otlp.transport import Verdict
from tracelet_otel.exporters.spec import PROBE_S

_NOTHING: Final = Body(b"", is_gzip=False, samples=0)
_NOT_LET_IN: Final = ("HTTP status 401", "HTTP status 403", "gRPC status UNAUTHENTICATED", "gRPC status PERMISSION")
_ANSWERS: Final = ("HTTP status", "the endpoint redirects")


def probe(endpoint: str | None) -> Finding:
    """Send an empty request to the receiver.

    Args:
        endpoint: takes precedence over that of OpenTelemetry's variables.
    """
    try:
        settings = read(environment(), endpoint)
        transport = transport_of(replace(settings, timeout_s=min(settings.timeout_s, PROBE_S)), Guard())
    except ConfigurationError as error:
        return problem(str(error), "correct it, and ask again")
    try:
        answer = transport.send(_NOTHING)
    finally:
        transport.close()
    place = f"the receiver at {settings.shown_endpoint} ({settings.protocol})"
    if answer.verdict is Verdict.DELIVERED:
        return fine(f"{place} takes OTLP")
    if answer.reason.startswith(_NOT_LET_IN):
        return problem(
            f"{place} does not take the credentials", "correct OTEL_EXPORTER_OTLP_HEADERS, or the credential provider"
        )
    if answer.reason.startswith(_ANSWERS):
        return problem(f"{place} does not take OTLP: {answer.reason}", "correct OTEL_EXPORTER_OTLP_ENDPOINT")
    return problem(
        f"{place} cannot be reached: {answer.reason}",
        "start it, or correct OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_PROTOCOL",
    )
