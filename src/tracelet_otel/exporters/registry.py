"""The backends by name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Final

from tracelet_otel.errors import ConfigurationError, MissingDependencyError
from tracelet_otel.exporters import mlflow_address
from tracelet_otel.exporters.tracker import Tracker
from tracelet_otel.settings import Settings

_TRACKERS: Final = {"mlflow": "tracelet_otel.exporters.mlflow:MlflowTracker"}
"""Where each backend's tracker is; the module has the name of the package that it imports."""


def check(backend: str, settings: Settings) -> None:
    """Whether a tracker can be had, as far as that shows without its client's import.

    Raises:
        ConfigurationError: there is no such backend, or it cannot do what is asked of it.
        MissingDependencyError: its client library is not installed.
    """
    if backend not in _TRACKERS:
        raise ConfigurationError(f"unknown backend {backend!r}; known backends: {', '.join(_TRACKERS)}")
    if find_spec(backend) is None:
        raise MissingDependencyError(
            f"backend {backend!r} needs the package {backend}: pip install 'tracelet-otel[{backend}]'"
        )
    if backend == "mlflow":
        mlflow_address.check_key(settings)


def absolute(settings: Settings) -> Settings:
    """Settings whose addresses mean the same in another process and after a change of directory."""
    uri = settings.backend_url or settings.mlflow_tracking_uri or mlflow_address.default_address()
    return settings.model_copy(update={"mlflow_tracking_uri": mlflow_address.absolute(uri), "backend_url": None})


def without_secrets(settings: Settings) -> Settings:
    """Settings that may be kept on disk."""
    uri = mlflow_address.without_credentials(settings.mlflow_tracking_uri or "")
    return settings.model_copy(update={"mlflow_tracking_uri": uri, "api_key": None})


def have_same_stores(one: Settings, other: Settings) -> bool:
    """Whether both name the same backends at the same addresses; credentials do not count."""
    bare, other_bare = without_secrets(one), without_secrets(other)
    return (bare.backend, bare.mlflow_tracking_uri) == (other_bare.backend, other_bare.mlflow_tracking_uri)


def trackers(settings: Settings) -> dict[str, Tracker]:
    """The trackers that settings name, in order, none opened yet.

    Raises:
        TraceletError: as `check` does.
    """
    return {name: tracker(name, settings) for name in settings.backend}


def tracker(backend: str, settings: Settings) -> Tracker:
    """A tracker that has not been opened yet.

    Raises:
        ConfigurationError: there is no such backend, or it cannot do what is asked of it.
        MissingDependencyError: its client library is not installed.
    """
    check(backend, settings)
    module, _, name = _TRACKERS[backend].partition(":")
    make: Callable[[Settings], Tracker] = getattr(import_module(module), name)
    return make(settings)
