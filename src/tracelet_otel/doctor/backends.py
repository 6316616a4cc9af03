"""Checks whether each backend can be reached and written to."""

from __future__ import annotations

from typing import Final

from tracelet_otel._support.findings import Finding, fine, note, problem
from tracelet_otel._support.redact import without_credentials
from tracelet_otel.doctor.findings import Chapter
from tracelet_otel.errors import ConfigurationError, MissingDependencyError
from tracelet_otel.exporters.otlp.probe import probe as probe_receiver
from tracelet_otel.exporters.registry import check, options_of, probe, spec_of
from tracelet_otel.settings import OTLP, Settings

_ELSEWHERE: Final = fine("the relay that is joined delivers to it")


def check_backend(backend: str, settings: Settings) -> Chapter:
    """Look at one backend.

    Args:
        backend: its name.
        settings: as `registry.absolute` returns them.
    """
    title = f"backend {backend}"
    if backend == OTLP:
        return Chapter(title, [probe_receiver(settings.otlp_endpoint)])
    if settings.relay_endpoint is not None:
        return Chapter(title, [_ELSEWHERE])
    try:
        check(backend, settings)
    except MissingDependencyError as error:
        spec = spec_of(backend)
        return Chapter(title, [problem(str(error).partition(":")[0], f"pip install '{spec.install or spec.package}'")])
    except ConfigurationError as error:
        return Chapter(title, [problem(str(error), "correct it, and ask again")])
    address = options_of(backend, settings).address
    found = probe(backend, settings)
    unknown = [note("its tracker cannot be asked before a run begins", "begin a short run to see")]
    return Chapter(
        f"{title} at {without_credentials(address)}" if address else title, unknown if found is None else found
    )


def check_collector() -> Chapter:
    """Look at the receiver that the environment names, where it is no backend of a run.

    Zero code sends there, and relays send figures of their own.
    """
    return Chapter("collector", [probe_receiver(None)])


def late(backend: str, patience_s: float) -> Finding:
    """What is said of a backend that takes too long.

    Args:
        backend: its name.
        patience_s: how long it was waited for, in seconds.
    """
    return problem(
        f"{backend} has not answered within {patience_s:.0f} s", "see whether the network or the server is slow"
    )
