"""The installed trackers by name, and the part of a run's settings that belongs to each of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from tracelet_otel._support.environment import environment
from tracelet_otel._support.findings import Finding
from tracelet_otel._support.guard import log
from tracelet_otel.errors import ConfigurationError, MissingDependencyError
from tracelet_otel.exporters.spec import ENTRY_POINTS, TrackerOptions, TrackerSpec
from tracelet_otel.settings import OTLP, Settings, did_you_mean

if TYPE_CHECKING:
    from tracelet_otel.exporters.base import Tracker


@cache
def _found() -> Mapping[str, EntryPoint]:
    return {one.name: one for one in sorted(entry_points(group=ENTRY_POINTS), key=lambda one: (one.name, one.value))}


@cache
def spec_of(backend: str) -> TrackerSpec:
    """Load the description of the tracker with this name.

    Raises:
        ConfigurationError: there is no such tracker, or its package cannot be imported.
    """
    found = _found()
    if backend not in found:
        known = [*found, OTLP]
        hint = did_you_mean(backend, known) or ";"
        why = "" if found else ". No tracker is known, as for a copy that was not installed: pip install tracelet-otel"
        raise ConfigurationError(f"unknown backend {backend!r}{hint} known backends: {', '.join(known)}{why}")
    try:
        spec = found[backend].load()
    except Exception as error:
        raise ConfigurationError(f"backend {backend!r} ({found[backend].value}) cannot be loaded: {error!r}") from error
    if not isinstance(spec, TrackerSpec) or spec.name != backend:
        raise ConfigurationError(f"backend {backend!r} ({found[backend].value}) is no TrackerSpec of that name")
    foreign = [name for name in spec.options.model_fields if not name.startswith(f"{backend}_")]
    if foreign:
        raise ConfigurationError(f"options of backend {backend!r} have to begin with '{backend}_': {foreign}")
    return spec


def specs() -> list[TrackerSpec]:
    """Descriptions of all installed trackers. One that cannot be loaded is logged and left out."""
    loaded = []
    for name in _found():
        try:
            loaded.append(spec_of(name))
        except ConfigurationError as error:
            log.warning("%s", error)
    return loaded


def check(backend: str, settings: Settings) -> None:
    """Check whether a backend can be used, as far as possible without the import of its client.

    Args:
        backend: name of the backend.
        settings: as `absolute` returns them.

    Raises:
        ConfigurationError: there is no such backend, or it does not support these settings.
        MissingDependencyError: its client library is not installed.
    """
    if backend == OTLP:
        return
    spec = spec_of(backend)
    if spec.package is not None and not _is_installed(spec.package):
        raise MissingDependencyError(
            f"backend {backend!r} needs the package {spec.package}: pip install '{spec.install or spec.package}'"
        )
    options_of(backend, settings).check()
    if settings.api_key is not None and spec.credentials and not _takes_key(settings):
        raise ConfigurationError(f"{backend} takes no api_key: set {spec.credentials}")


def check_all(settings: Settings) -> None:
    """Check all backends before a run begins, and that the trackers can run in the process in which they are placed.

    A relay that is joined has backends of its own: they are not checked here.

    Raises:
        ConfigurationError: as `check` raises it, or a tracker needs a relay, and there is none.
        MissingDependencyError: as `check` raises it.
    """
    for name in settings.trackers if not settings.has_relay else ():
        if spec_of(name).needs_relay:
            raise ConfigurationError(
                f"backend {name!r} needs a relay: its client would change the process that trains. Leave out "
                f"relay=False, or join a relay that runs elsewhere (relay_endpoint)"
            )
    for name in settings.backend if settings.relay_endpoint is None else ():
        check(name, settings)


def absolute(settings: Settings) -> Settings:
    """Add the trackers' options to settings, in a form that means the same in any process and working directory.

    An unknown backend is passed over; `check` raises for it.

    Raises:
        ConfigurationError: an environment variable of a tracker is malformed, or `backend_url` is given for several
            backends.
    """
    variables, url = environment(), settings.backend_url
    read = {spec.name: spec.options.read(variables) for spec in _known(settings)}
    if url is not None and len(settings.backend) > 1:
        own = [options.variable(options.address_field) for options in read.values() if options.address_field]
        raise ConfigurationError(
            f"backend_url is the address of one backend: with several, give {', '.join(own)} and "
            f"OTEL_EXPORTER_OTLP_ENDPOINT"
        )
    endpoint = url if settings.backend == (OTLP,) and url is not None else settings.otlp_endpoint
    options = [one.at(url).resolved() for one in read.values()]
    return _with_options(settings.model_copy(update={"backend_url": None, "otlp_endpoint": endpoint}), options)


def options_of(backend: str, settings: Settings) -> TrackerOptions:
    """The options of one tracker, from settings to which `absolute` has added them."""
    return spec_of(backend).options.model_validate(dict(settings.options))


def run_to_continue(settings: Settings) -> str | None:
    """Id of the run to continue, from the setting `run_id` or else from a tracker's options; None if there is none."""
    named = (options_of(spec.name, settings).run_to_continue for spec in _known(settings))
    return settings.run_id or next(filter(None, named), None)


def check_joined(settings: Settings) -> None:
    """Check whether a relay that somebody else started can continue the run that a tracker's own variable names.

    Raises:
        ConfigurationError: it cannot, since the tracker chooses the ids of its runs.
    """
    for spec in _known(settings):
        options = options_of(spec.name, settings)
        if spec.assigns_run_ids and options.run_to_continue is not None and settings.run_id is None:
            raise ConfigurationError(
                f"{options.variable(options.run_field)} names a run of {spec.name}, which a relay that was joined "
                f"cannot continue: unset it"
            )


def without_runs(settings: Settings) -> Settings:
    """A copy of settings without the ids of runs to continue."""
    return _with_options(settings.model_copy(update={"run_id": None}), [one.of_any_run() for one in _options(settings)])


def without_secrets(settings: Settings) -> Settings:
    """A copy of settings without the credentials of their trackers."""
    bare = settings.model_copy(update={"api_key": None})
    return _with_options(bare, [one.without_secrets() for one in _options(settings)])


def for_a_journal(settings: Settings) -> Settings:
    """A copy of settings that may be stored on disk: without credentials, and with no addresses but the trackers'."""
    return without_secrets(settings).model_copy(update={"otlp_endpoint": None})


def have_same_stores(one: Settings, other: Settings) -> bool:
    """Whether both name the same trackers at the same addresses; credentials do not count."""
    return one.trackers == other.trackers and _stores(one) == _stores(other)


def with_credentials(stored: Settings, own: Settings) -> Settings:
    """Add this process's credentials to settings from disk, if both name the same stores.

    Args:
        stored: settings from disk.
        own: settings of this process, with credentials.
    """
    if not have_same_stores(stored, own):
        return stored
    known = []
    for spec in _known(stored):
        ours = options_of(spec.name, own)
        known.append(options_of(spec.name, stored).at(ours.address).model_copy(update=ours.secrets))
    return _with_options(stored.model_copy(update={"api_key": own.api_key}), known)


def moved(settings: Settings, url: str) -> Settings:
    """A copy of settings, for one tracker only, with a new address of that tracker."""
    return _with_options(settings, [one.at(url).resolved() for one in _options(settings)])


def trackers(settings: Settings) -> dict[str, Tracker]:
    """Create the trackers that settings name, in order, without opening them.

    Raises:
        TraceletError: as `check` raises it.
    """
    for name in settings.trackers:
        check(name, settings)
    return {name: _made(name, settings) for name in settings.trackers}


def tracker(backend: str, settings: Settings) -> Tracker:
    """Create a tracker without opening it.

    Args:
        backend: name of the tracker.
        settings: as `absolute` returns them.

    Raises:
        ConfigurationError: there is no such tracker, or it does not support these settings.
        MissingDependencyError: its client library is not installed.
    """
    check(backend, settings)
    return _made(backend, settings)


def _made(backend: str, settings: Settings) -> Tracker:
    made: Tracker = resolve_name(spec_of(backend).tracker)(settings, options_of(backend, settings))
    return made


def probe(backend: str, settings: Settings) -> list[Finding] | None:
    """Look whether the store of a tracker can be reached and written to, without beginning a run.

    Args:
        backend: name of the tracker.
        settings: as `absolute` returns them.

    Returns:
        What was found; None where the tracker has no such function.
    """
    spec = spec_of(backend)
    return [*resolve_name(spec.probe)(settings, options_of(backend, settings))] if spec.probe else None


def takes_traces(settings: Settings) -> bool:
    """Whether any of the trackers that settings name takes spans."""
    return any(spec.takes_traces for spec in _known(settings))


def import_trackers(settings: Settings) -> None:
    """Import the modules of the trackers that settings name, now and on the calling thread."""
    for spec in _known(settings):
        import_module(spec.tracker.partition(":")[0])


def delivering_environment() -> tuple[dict[str, str], tuple[str, ...]]:
    """Environment variables for a process that may deliver to any of the installed trackers.

    Returns:
        Values of variables to set, and names of variables that the process must not inherit.
    """
    known = specs()
    return (
        {name: value for spec in known for name, value in spec.environment.items()},
        tuple(name for spec in known for name in spec.not_inherited),
    )


def _known(settings: Settings) -> list[TrackerSpec]:
    return [spec_of(name) for name in settings.trackers if name in _found()]


def _options(settings: Settings) -> list[TrackerOptions]:
    return [options_of(spec.name, settings) for spec in _known(settings)]


def _with_options(settings: Settings, options: Iterable[TrackerOptions]) -> Settings:
    plain: dict[str, Any] = {}
    for one in options:
        plain.update(one.plain)
    return settings.model_copy(update={"options": plain})


def _stores(settings: Settings) -> list[tuple[Any, ...]]:
    return [one.store for one in _options(settings)]


def _takes_key(settings: Settings) -> bool:
    return any(spec.credentials is None for spec in _known(settings))


def _is_installed(package: str) -> bool:
    try:
        spec = find_spec(package)
    except ValueError:
        # A replacement in `sys.modules`, as tests make it, has no `__spec__`. A relay's process would import the
        # package from the path.
        spec = PathFinder.find_spec(package)
    # A folder of that name in the working directory, as W&B creates it, is found too: as a package without a file.
    return spec is not None and spec.origin is not None
