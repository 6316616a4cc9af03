"""Delivers a journal that a relay has left behind."""

from __future__ import annotations

from pathlib import Path

from tracelet_otel._support.guard import Guard
from tracelet_otel.errors import ConfigurationError
from tracelet_otel.exporters import registry
from tracelet_otel.protocol.messages import Status
from tracelet_otel.relay.deaths import Deaths
from tracelet_otel.relay.journal import SIDECAR_DIRECTORY, SUFFIX, Journal
from tracelet_otel.relay.notice import RunNotice
from tracelet_otel.relay.run import RelayedRun
from tracelet_otel.settings import Settings, from_plain


def journals(path: Path) -> list[Path]:
    """The journal at a path, or the journals in a directory and in its subdirectory for those of a sidecar.

    Raises:
        ConfigurationError: there is nothing at the path.
    """
    if path.is_dir():
        return sorted([*path.glob(f"*{SUFFIX}"), *path.glob(f"{SIDECAR_DIRECTORY}/*{SUFFIX}")])
    if not path.is_file():
        raise ConfigurationError(f"there is no journal at {path}")
    return [path]


def replay(path: Path, patience_s: float, backend_url: str | None = None) -> Status:
    """Deliver a journal and end its run; the journal is removed when nothing is left of it.

    Args:
        path: a journal that no relay uses.
        patience_s: give up on a backend that has taken nothing for so many seconds.
        backend_url: the backend's address, where it has moved or needs credentials.

    Returns:
        How far each backend is.

    Raises:
        JournalInUseError: a relay uses the journal.
        TraceletError: it is not the journal of a run, or a backend is not installed.
    """
    journal = Journal(path)
    with journal.closed_on_error():
        settings = _settings(journal)
        if backend_url is not None and len(settings.trackers) > 1:
            raise ConfigurationError(
                f"{path} is of several backends ({', '.join(settings.trackers)}), and --backend-url is for one"
            )
    if backend_url is not None:
        settings = registry.moved(settings, backend_url)
    return deliver(journal, settings, patience_s)


def deliver(journal: Journal, settings: Settings, patience_s: float) -> Status:
    """Deliver a journal that is open, and end its run; then close the journal, or remove it if nothing is left.

    Args:
        journal: an open journal.
        settings: the settings of the run.
        patience_s: give up on a backend that has taken nothing for so many seconds.

    Returns:
        How far each backend is.

    Raises:
        TraceletError: a backend is not installed.
    """
    with journal.closed_on_error():
        guard = Guard()
        run = RelayedRun(journal, guard, settings)
        if run.is_over:
            run.forget()
        else:
            # A tracker's client may wait for its own uploads, and has to give up before we do.
            patient = settings.model_copy(update={"relay_patience": patience_s})
            run.resume(registry.trackers(patient), journal.state["resource"])
            _tell_death(run, journal, guard)
    with RunNotice(run, journal, settings).while_closing():
        is_complete = run.close(patience_s)
    if is_complete:
        journal.path.with_suffix(".log").unlink(missing_ok=True)
    return run.status


def _tell_death(run: RelayedRun, journal: Journal, guard: Guard) -> None:
    state = journal.state
    if state.get("owner") is None:
        return  # the process that owns the run could not be seen from its relay, as from a sidecar
    try:
        Deaths(journal.path.parent, state).tell(run, state)
    except Exception as error:
        guard.report("why a process is gone will not be known", error)


def _settings(journal: Journal) -> Settings:
    """The settings of the run, as its journal has them: without credentials."""
    state = journal.state
    if "settings" not in state:
        raise ConfigurationError(f"{journal.path} is not the journal of a run")
    return from_plain(state["settings"])
