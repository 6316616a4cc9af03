"""Checks those variables of OpenTelemetry that turn recording off, in whole or in part."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Final

from tracelet_otel._support.environment import environment, sdk_disabled
from tracelet_otel._support.findings import Finding, fine, note, problem
from tracelet_otel._support.redact import HIDDEN, without_credentials
from tracelet_otel.doctor.findings import Chapter
from tracelet_otel.settings import Settings, did_you_mean

_EXPORTERS: Final = "OTEL_METRICS_EXPORTER"
_DISABLED: Final = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"
_OUR_INSTRUMENTATION: Final = "lightning"
_ZERO_CODE: Final = "opentelemetry/instrumentation/auto_instrumentation"
"""End of the directory that `opentelemetry-instrument` puts into the module search path of what it starts."""
_DEFAULT: Final = "otlp"
_NONE: Final = "none"
_HEADERS: Final = "HEADERS"
"""A part of the names of variables whose values log in."""


def check_sdk_variables(_settings: Settings) -> Chapter:
    """Look at OpenTelemetry's variables that say whether anything is recorded."""
    variables = {name: value.strip() for name, value in environment().items() if value.strip()}
    findings = [*_disabled(variables), *_exporters(variables)]
    shown = {
        name: HIDDEN if _HEADERS in name else without_credentials(value)
        for name, value in sorted(variables.items())
        if name.startswith("OTEL_")
    }
    well = fine("no variable of OpenTelemetry turns recording off")
    return Chapter("OpenTelemetry", findings or [well], [*shown.items()], {"variables": shown})


def _disabled(variables: Mapping[str, str]) -> Iterator[Finding]:
    if sdk_disabled():
        yield problem("OTEL_SDK_DISABLED=true: nothing is recorded", "unset OTEL_SDK_DISABLED")
    names = [name.strip().lower() for name in variables.get(_DISABLED, "").split(",")]
    if _OUR_INSTRUMENTATION in names or "*" in names:
        yield note(f"{_DISABLED} turns recording without code off", f"take {_OUR_INSTRUMENTATION} out of it")


def _exporters(variables: Mapping[str, str]) -> Iterator[Finding]:
    names = [name.strip() for name in variables.get(_EXPORTERS, _DEFAULT).split(",") if name.strip()]
    mend = f"name exporters, as in {_EXPORTERS}=tracelet, or unset it"
    if _NONE in map(str.lower, names):
        text = f"{_EXPORTERS}=none: nothing is recorded under opentelemetry-instrument"
        # `start_logging` makes exporters of its own.
        yield problem(text, mend) if _is_zero_code(variables) else note(f"{text}; start_logging does not heed it", mend)
        return
    known = entry_points(group="opentelemetry_metrics_exporter").names
    for name in names:
        if name not in known:
            hint = did_you_mean(name, sorted(known))
            yield problem(f"{_EXPORTERS} names {name!r}, which nothing that is installed has{hint}", mend)


def _is_zero_code(variables: Mapping[str, str]) -> bool:
    paths = variables.get("PYTHONPATH", "").split(os.pathsep)
    return any(path.replace(os.sep, "/").rstrip("/").endswith(_ZERO_CODE) for path in paths)
