"""Records PyTorch Lightning training: to MLflow, W&B or ClearML, and to any OpenTelemetry collector.

Call `start_logging` before the training. It returns a `Run`.

Importing this package imports neither torch nor Lightning nor a tracker. The OpenTelemetry SDK is imported when one of
the package's names is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tracelet_otel._support.environment import is_recorded_elsewhere

if TYPE_CHECKING:
    __version__: str
    """Version of the package."""

    from tracelet_otel.api import prepare_logging, start_logging
    from tracelet_otel.api.active import get_active_run, stop_logging
    from tracelet_otel.errors import (
        ConfigurationError,
        IncompatibleVersionError,
        MissingDependencyError,
        TraceletError,
        TrackerError,
        TrackerUnavailableError,
    )
    from tracelet_otel.logger import TraceletLogger
    from tracelet_otel.run import Run

__all__ = [
    "ConfigurationError",
    "IncompatibleVersionError",
    "MissingDependencyError",
    "Run",
    "TraceletError",
    "TraceletLogger",
    "TrackerError",
    "TrackerUnavailableError",
    "get_active_run",
    "prepare_logging",
    "start_logging",
    "stop_logging",
]

_BEGINNINGS = ("prepare_logging", "start_logging")
_ERRORS = frozenset(name for name in __all__ if name.endswith("Error"))


if not TYPE_CHECKING:  # a type checker would accept any name

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            from importlib.metadata import version

            return version("tracelet-otel")
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name in _ERRORS:
            from tracelet_otel import errors as home
        elif name == "TraceletLogger":
            from tracelet_otel import logger as home
        elif name in _BEGINNINGS:
            from tracelet_otel import api as home
        else:
            from tracelet_otel.api import active as home
        return getattr(home, name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def _record_worker() -> None:
    from tracelet_otel.api.active import record_workers

    record_workers()


if is_recorded_elsewhere():
    from tracelet_otel._support.watching import watch

    watch(_record_worker)
