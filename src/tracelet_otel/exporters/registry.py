"""The backends by name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Final

from tracelet_otel.errors import ConfigurationError
from tracelet_otel.exporters.tracker import Tracker
from tracelet_otel.settings import Settings

_TRACKERS: Final = {"mlflow": "tracelet_otel.exporters.mlflow:MlflowTracker"}


def tracker(backend: str, settings: Settings) -> Tracker:
    """A tracker that has not been opened yet.

    Raises:
        ConfigurationError: there is no such backend.
        MissingDependencyError: its client library is not installed.
    """
    if backend not in _TRACKERS:
        raise ConfigurationError(f"unknown backend {backend!r}; known backends: {', '.join(_TRACKERS)}")
    module, _, name = _TRACKERS[backend].partition(":")
    make: Callable[[Settings], Tracker] = getattr(import_module(module), name)
    return make(settings)
