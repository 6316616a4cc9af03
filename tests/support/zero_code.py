"""Scripts as `opentelemetry-instrument` starts them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from opentelemetry.instrumentation import auto_instrumentation

COMMAND = (str(Path(sys.executable).with_name("opentelemetry-instrument")), sys.executable)
"""What a user puts before a script."""
INSTRUMENTED = Path(__file__).with_name("instrumented.py")
"""A script that does the same where an interpreter has begun already; it takes the other script as an argument."""


def variables(exporters: str) -> dict[str, str]:
    """What the SDK is told, by `OTEL_METRICS_EXPORTER` and others."""
    return {
        "OTEL_METRICS_EXPORTER": exporters,
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_METRIC_EXPORT_INTERVAL": "500",
    }


def as_command(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment that the command has changed: interpreters that start in it are instrumented."""
    return {**environment, "PYTHONPATH": str(Path(auto_instrumentation.__file__).parent)}
