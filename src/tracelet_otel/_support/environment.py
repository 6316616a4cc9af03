"""Environment variables of this process. The only file that reads or changes them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final

_HANDOVER: Final = "TRACELET_HANDOVER"
_RUN: Final = "TRACELET_PARENT_RUN"
_RECORDER: Final = "TRACELET_RECORDER"
_OPENING: Final = ":opening"
"""End of the value of that variable as long as the run is not there."""
_CONSOLE: Final = "TRACELET_CONSOLE_PROCESS"
_SDK_EXPORT_INTERVAL_S: Final = 60.0
_SECRET: Final = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE)
"""End of the name of a variable whose value is secret."""


def environment() -> dict[str, str]:
    """Return a copy of this process's environment variables."""
    return dict(os.environ)


def set_environment_defaults(values: Mapping[str, str]) -> None:
    """Set environment variables that are not set. Only for processes of our own: libraries read these variables."""
    for name, value in values.items():
        os.environ.setdefault(name, value)


def replace_environment(values: Mapping[str, str]) -> None:
    """Give this process other environment variables. Only for processes of our own."""
    os.environ.clear()
    os.environ.update(values)


def own_variables() -> list[str]:
    """Names of the variables with our prefix, without those that this package leaves for other processes."""
    left = (_HANDOVER, _RUN, _RECORDER, _CONSOLE)
    return [name for name in os.environ if name.startswith("TRACELET_") and name not in left]


def take_spawn_context() -> str | None:
    """Remove and return the text that the process which started this rank left in the environment; None for no text."""
    return os.environ.pop(_HANDOVER, None)


def is_rank_of_recorder() -> bool:
    """Whether a training of the process that has the run has started this one as a rank; known until that is taken.

    A rank of a training in a worker is none: its run has a name of its own in that text.
    """
    job = os.environ.get(_HANDOVER, "").partition(".")[0]
    return job != "" and job == recorder()[1].partition(".")[0]


def set_spawn_context(value: str | None) -> None:
    """Leave a text in the environment for processes that are started as ranks; None removes it."""
    if value is None:
        os.environ.pop(_HANDOVER, None)
    else:
        os.environ[_HANDOVER] = value


def inherited_run() -> tuple[int | None, str]:
    """Pid of the process that left the id of its run for ranks, and that id; None and an empty text if none did."""
    pid, _, run_id = os.environ.get(_RUN, "").partition(".")
    return (int(pid), run_id) if pid.isdigit() and run_id else (None, "")


def leave_run(pid: int, run_id: str) -> None:
    """Leave the id of a run in the environment for processes that are started as ranks.

    Args:
        pid: pid of this process.
        run_id: id of the run.
    """
    os.environ[_RUN] = f"{pid}.{run_id}"


def recorder_text_of(pid: int, place: str, *, is_opening: bool = False) -> str:
    """The text by which processes know that the one which has started them has a run.

    Args:
        pid: pid of that process.
        place: text that says where its run is found; empty where it takes nothing of others.
        is_opening: whether the run is not there yet.
    """
    return f"{pid}:{place}{_OPENING if is_opening else ''}"


def set_recorder_text(text: str | None) -> None:
    """Leave such a text in the environment, for processes that are started from here; None where none has a run."""
    if text is None:
        os.environ.pop(_RECORDER, None)
    else:
        os.environ[_RECORDER] = text


def recorder_text() -> str | None:
    """The text that is there now; None for none."""
    return os.environ.get(_RECORDER)


def recorder() -> tuple[str, str]:
    """Pid of the process that has a run, and the text that says where its run is found; empty where none has one."""
    pid, _, place = os.environ.get(_RECORDER, "").partition(":")
    return pid, place.removesuffix(_OPENING)


def is_opening_elsewhere() -> bool:
    """Whether the run of the process that started this one was not there yet at that moment, but was to come."""
    return os.environ.get(_RECORDER, "").endswith(_OPENING)


def set_console_process(path: str | None) -> None:
    """Leave in the environment where the console process is, for ranks that print to where this process prints.

    Args:
        path: of its socket; None where there is no such process any more.
    """
    if path is None:
        os.environ.pop(_CONSOLE, None)
    else:
        os.environ[_CONSOLE] = path


def console_process() -> str | None:
    """Path of the socket of the console process that an ancestor of this process has started; None for none."""
    return os.environ.get(_CONSOLE)


def is_recorded_elsewhere() -> bool:
    """Whether the process that started this one, or one of its ancestors, has a run."""
    return recorder()[0] not in ("", str(os.getpid()))


def secrets() -> list[str]:
    """Values of those variables whose names say that they are secret, as WANDB_API_KEY."""
    return [value for name, value in os.environ.items() if _SECRET.search(name) and value]


def trace_carrier() -> dict[str, str]:
    """What the process that started this one says of its trace, by the names of W3C Trace Context; empty for nothing.

    Source: OpenTelemetry, "Environment Variables as Context Propagation Carriers".
    """
    return {name: os.environ[name.upper()] for name in ("traceparent", "tracestate") if name.upper() in os.environ}


def sdk_disabled() -> bool:
    """Whether OTEL_SDK_DISABLED turns the SDK off, so that nothing can be recorded."""
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def sdk_export_interval_s() -> float:
    """Seconds between two exports, where the SDK's own configurator creates the metric readers.

    Source: OpenTelemetry, "Environment Variable Specification", `OTEL_METRIC_EXPORT_INTERVAL` in milliseconds.
    """
    try:
        interval_s = float(os.environ.get("OTEL_METRIC_EXPORT_INTERVAL", "")) / 1e3
    except ValueError:
        return _SDK_EXPORT_INTERVAL_S
    return interval_s if interval_s > 0 else _SDK_EXPORT_INTERVAL_S


def sdk_exports_nothing() -> bool:
    """Whether the SDK's own configurator creates no metric reader."""
    return sdk_disabled() or os.environ.get("OTEL_METRICS_EXPORTER", "").strip().lower() == "none"


def sdk_exports_otlp(signal: str = "METRICS") -> bool:
    """Whether the SDK's own configurator creates an exporter of OTLP for a signal, which is its default.

    Args:
        signal: its part of the variable's name: `METRICS`, `TRACES` or `LOGS`.
    """
    named = os.environ.get(f"OTEL_{signal}_EXPORTER", "").lower() or "otlp"
    return any(name.strip().startswith("otlp") for name in named.split(","))
