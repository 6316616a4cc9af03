"""The backends by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import find_spec
from typing import Any, Final

from tracelet_otel.errors import ConfigurationError, MissingDependencyError
from tracelet_otel.exporters.base import Tracker
from tracelet_otel.exporters.clearml import address as clearml_address
from tracelet_otel.exporters.mlflow import address as mlflow_address
from tracelet_otel.exporters.wandb import address as wandb_address
from tracelet_otel.settings import OTLP, Settings, did_you_mean

_Changes = Mapping[str, Any]


@dataclass(frozen=True)
class _Backend:
    tracker: str
    """Where its tracker is; that module alone imports the client."""
    resolved: Callable[[Settings, str | None], _Changes]
    """Changes to settings after which they mean the same in another process, where it gets an address of its own."""
    without_secrets: Callable[[Settings], _Changes]
    """Changes to settings after which they may be kept on disk."""
    credentials: str | None
    """The variables with which its client logs in; None where it takes `api_key`."""
    check_address: Callable[[Settings], None] = lambda _: None
    """Raises `ConfigurationError` for an address that its client does not know."""
    needs_relay: bool = False
    """Whether its client may live in no process but the relay's, for what it does to its process."""


_BACKENDS: Final = {
    "mlflow": _Backend(
        "tracelet_otel.exporters.mlflow.client:MlflowTracker",
        mlflow_address.resolved,
        mlflow_address.without_secrets,
        mlflow_address.CREDENTIALS,
        mlflow_address.check,
    ),
    "wandb": _Backend(
        "tracelet_otel.exporters.wandb.client:WandbTracker",
        wandb_address.resolved,
        wandb_address.without_secrets,
        None,
        needs_relay=True,
    ),
    "clearml": _Backend(
        "tracelet_otel.exporters.clearml.client:ClearmlTracker",
        clearml_address.resolved,
        clearml_address.without_secrets,
        clearml_address.CREDENTIALS,
    ),
}
"""Each has the name of the package that it needs, and of the extra that installs it."""


def check(backend: str, settings: Settings) -> None:
    """Whether a tracker can be had, as far as that shows without its client's import.

    Raises:
        ConfigurationError: there is no such backend, or it cannot do what is asked of it.
        MissingDependencyError: its client library is not installed.
    """
    if backend == OTLP:
        return
    if backend not in _BACKENDS:
        known = [*_BACKENDS, OTLP]
        hint = did_you_mean(backend, known) or ";"
        raise ConfigurationError(f"unknown backend {backend!r}{hint} known backends: {', '.join(known)}")
    try:
        spec = find_spec(backend)
    except ValueError:
        # A module that somebody has put in its place, as tests do, says nothing of where it comes from. A relay has it
        # from the path.
        spec = PathFinder.find_spec(backend)
    # A folder of that name, as W&B makes one, is found too: as a package without a file.
    if spec is None or spec.origin is None:
        raise MissingDependencyError(
            f"backend {backend!r} needs the package {backend}: pip install 'tracelet-otel[{backend}]'"
        )
    _BACKENDS[backend].check_address(settings)
    credentials = _BACKENDS[backend].credentials
    if settings.api_key is not None and credentials and not _takes_key(settings):
        raise ConfigurationError(f"{backend} takes no api_key: set {credentials}")


def check_process(settings: Settings) -> None:
    """Whether the trackers can be where the settings want them.

    Raises:
        ConfigurationError: there is no relay, and one of them needs it.
    """
    for name in settings.trackers if not settings.has_relay else ():
        if name in _BACKENDS and _BACKENDS[name].needs_relay:
            raise ConfigurationError(
                f"backend {name!r} needs a relay: its client would change the process that trains. Leave out "
                f"relay=False, or join a relay that runs elsewhere (relay_endpoint)"
            )


def absolute(settings: Settings) -> Settings:
    """Settings whose addresses mean the same in another process and after a change of directory."""
    changes: dict[str, Any] = {"backend_url": None}
    if settings.backend == (OTLP,) and settings.backend_url is not None:
        changes["otlp_endpoint"] = settings.backend_url
    for backend in _known(settings):
        changes.update(backend.resolved(settings, settings.backend_url))
    return settings.model_copy(update=changes)


def without_secrets(settings: Settings) -> Settings:
    """Settings without the credentials of their trackers."""
    changes: dict[str, Any] = {"api_key": None}
    for backend in _known(settings):
        changes.update(backend.without_secrets(settings))
    return settings.model_copy(update=changes)


def for_a_journal(settings: Settings) -> Settings:
    """Settings that may be kept on disk: no credentials, and no addresses but those of their trackers."""
    unused = [backend for name, backend in _BACKENDS.items() if name not in settings.backend]
    addresses = {name: None for backend in unused for name in backend.without_secrets(settings)}
    return without_secrets(settings).model_copy(update={**addresses, "otlp_endpoint": None})


def have_same_stores(one: Settings, other: Settings) -> bool:
    """Whether both name the same backends at the same addresses; credentials do not count."""
    return one.trackers == other.trackers and _addresses(without_secrets(one)) == _addresses(without_secrets(other))


def with_credentials(stored: Settings, own: Settings) -> Settings:
    """Settings that were kept on disk, with our credentials where they are for the same stores."""
    if not have_same_stores(stored, own):
        return stored
    return stored.model_copy(update={**_addresses(own), "api_key": own.api_key})


def trackers(settings: Settings) -> dict[str, Tracker]:
    """The trackers that settings name, in order, none opened yet.

    Raises:
        TraceletError: as `check` does.
    """
    for name in settings.trackers:
        check(name, settings)
    return {name: tracker(name, settings) for name in settings.trackers}


def tracker(backend: str, settings: Settings) -> Tracker:
    """A tracker that has not been opened yet.

    Args:
        backend: its name.
        settings: as `absolute` gives them.

    Raises:
        ConfigurationError: there is no such backend, or it cannot do what is asked of it.
        MissingDependencyError: its client library is not installed.
    """
    check(backend, settings)
    module, _, name = _BACKENDS[backend].tracker.partition(":")
    make: Callable[[Settings], Tracker] = getattr(import_module(module), name)
    return make(settings)


def import_trackers(settings: Settings) -> None:
    """Import now, on the calling thread, what the trackers that settings name need in this process."""
    for name in settings.trackers:
        import_module(name)
        import_module(_BACKENDS[name].tracker.partition(":")[0])


def _known(settings: Settings) -> list[_Backend]:
    return [_BACKENDS[name] for name in settings.backend if name in _BACKENDS]


def _takes_key(settings: Settings) -> bool:
    return any(backend.credentials is None for backend in _known(settings))


def _addresses(settings: Settings) -> dict[str, Any]:
    fields = [name for backend in _known(settings) for name in backend.without_secrets(settings)]
    return {name: getattr(settings, name) for name in fields}
