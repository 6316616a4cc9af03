"""This process's environment: the one file that reads or changes it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

_HANDOVER: Final = "TRACELET_HANDOVER"
_RUN: Final = "TRACELET_PARENT_RUN"
_RECORDER: Final = "TRACELET_RECORDER"
_SDK_EXPORT_INTERVAL_S: Final = 60.0


def environment() -> dict[str, str]:
    """A copy of this process's environment."""
    return dict(os.environ)


def set_environment_defaults(values: Mapping[str, str]) -> None:
    """Say what libraries read from the environment, where it says nothing: for processes of our own only."""
    for name, value in values.items():
        os.environ.setdefault(name, value)


def own_variables() -> list[str]:
    """Names of the variables that begin as ours do, without those that we leave for other processes."""
    left = (_HANDOVER, _RUN, _RECORDER)
    return [name for name in os.environ if name.startswith("TRACELET_") and name not in left]


def take_spawn_context() -> str | None:
    """What the process that started this one as a rank has left in its environment; it is gone then."""
    return os.environ.pop(_HANDOVER, None)


def set_spawn_context(value: str | None) -> None:
    """Leave something in the environment for processes that are started as ranks, or take it out."""
    if value is None:
        os.environ.pop(_HANDOVER, None)
    else:
        os.environ[_HANDOVER] = value


def inherited_run() -> tuple[int | None, str]:
    """Which process has left the id of its run for ranks, and the id; nothing where none has."""
    pid, _, run_id = os.environ.get(_RUN, "").partition(".")
    return (int(pid), run_id) if pid.isdigit() and run_id else (None, "")


def leave_run(pid: int, run_id: str) -> None:
    """Leave the id of a run for processes that are started as ranks."""
    os.environ[_RUN] = f"{pid}.{run_id}"


def set_recorder(pid: int | None) -> None:
    """Tell processes that are started from here which process has a run, or that none has."""
    if pid is None:
        os.environ.pop(_RECORDER, None)
    else:
        os.environ[_RECORDER] = str(pid)


def is_recorded_elsewhere() -> bool:
    """Whether the process that has started this one, or one before it, has a run."""
    return os.environ.get(_RECORDER, str(os.getpid())) != str(os.getpid())


def sdk_disabled() -> bool:
    """Whether OTEL_SDK_DISABLED turns the SDK off, which leaves nothing to record with."""
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def sdk_export_interval_s() -> float:
    """Seconds between two exports of the SDK where its own configurator makes the readers.

    Source: OpenTelemetry, "Environment Variable Specification", `OTEL_METRIC_EXPORT_INTERVAL` in milliseconds.
    """
    try:
        interval_s = float(os.environ.get("OTEL_METRIC_EXPORT_INTERVAL", "")) / 1e3
    except ValueError:
        return _SDK_EXPORT_INTERVAL_S
    return interval_s if interval_s > 0 else _SDK_EXPORT_INTERVAL_S


def sdk_exports_nothing() -> bool:
    """Whether the SDK's own configurator makes no reader of metrics."""
    return sdk_disabled() or os.environ.get("OTEL_METRICS_EXPORTER", "").strip().lower() == "none"


def sdk_exports_otlp() -> bool:
    """Whether the SDK's own configurator makes an exporter of OTLP metrics; it does where nothing is said."""
    named = os.environ.get("OTEL_METRICS_EXPORTER", "").lower() or "otlp"
    return any(name.strip().startswith("otlp") for name in named.split(","))
