"""The run that an instrumentor begins by itself, where it is enabled by the SDK's configuration and not by a call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tracelet_otel import semconv
from tracelet_otel._support.environment import environment
from tracelet_otel._support.guard import log
from tracelet_otel._support.spawned import is_started_by_multiprocessing
from tracelet_otel.errors import ConfigurationError
from tracelet_otel.instrumentation.checkpoints import OFF
from tracelet_otel.instrumentation.launching import Launching, NoLaunching
from tracelet_otel.resource.membership import Membership
from tracelet_otel.resource.rank_info import rank_info_of

if TYPE_CHECKING:
    from tracelet_otel.instrumentation.lightning.routes import RunsOfTrainers
    from tracelet_otel.instrumentation.signals import Signals
    from tracelet_otel.settings import Settings


@dataclass(frozen=True)
class Participation:
    """What part a process has in its run."""

    membership: Membership = field(default_factory=Membership)
    launching: Launching = field(default_factory=NoLaunching)
    """Announces the run to processes that a training may start."""
    owns_run: bool = True
    """Whether the end of this process ends the run, and not only this rank's part of it."""
    tracks_time: bool = False
    """Whether it is measured what the time of a training goes to."""
    gradients_every: int = 0
    """The norm of gradients is recorded before every n-th step of an optimizer, n being this number; never for 0."""
    captures_media: bool = False
    """Whether pictures, tables, texts and files are recorded that other loggers are handed."""
    tells_summary: bool = True
    """Whether that is shown at the end of the run."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Tags that the settings give the run."""
    note: str | None = None
    """What the settings say that the run is about."""
    checkpoints: str = OFF
    """Which checkpoints are uploaded: a constant of `checkpoints`."""
    journals: Path | None = None
    """Directory of the journals, in which files wait for the relay; None where no relay takes any."""
    ranks_apart: bool = False
    """Whether the run keeps the values of ranks apart."""
    tracks_environment: bool = False
    """Whether the installed packages and a summary of the module are recorded."""

    @classmethod
    def of(
        cls, settings: Settings, membership: Membership, launching: Launching | None = None, *, owns_run: bool = True
    ) -> Participation:
        """The part of a process in a run with settings.

        Args:
            settings: settings of the run.
            membership: of this process.
            launching: announces the run to processes that a training may start; None: nothing does.
            owns_run: whether the end of this process ends the run.
        """
        return cls(
            membership,
            launching or NoLaunching(),
            owns_run,
            settings.track_time,
            settings.track_gradients or 0,
            settings.capture_media,
            settings.summary and not settings.quiet,
            settings.tags,
            settings.notes,
            settings.checkpoints,
            settings.journal_dir if settings.trackers else None,
            settings.ranks == semconv.RANKS_EACH,
            settings.track_environment,
        )


def _settings() -> Settings:
    from tracelet_otel.settings import Settings, load

    try:
        return load({}, None)
    except ConfigurationError as error:
        # Most settings are of no use here, and none may keep a script from running.
        log.error("%s", error)
        return Settings.model_construct()


class OwnRun(Protocol):
    """A run that was not started by `start_logging`. The instrumentor calls it at each of these events."""

    shows_end: bool
    """Whether it shows itself how it has ended."""

    def begin(self) -> Participation | None:
        """Lightning has been imported, so something may be logged.

        Returns:
            None where this process reports nothing.
        """
        ...

    def watch(self, signals: Signals) -> None:
        """Take the signals to which everything in this process will be reported."""
        ...

    def training_begins(self) -> None:
        """A trainer begins to fit, validate or test."""
        ...

    @property
    def trainings(self) -> RunsOfTrainers | None:
        """Has a run of its own for each trainer; None: all are recorded in this run. Asked once `begin` was called."""
        ...

    def end(self) -> None:
        """The process ends, and nothing more will be logged."""
        ...

    def send_files(self) -> None:
        """All files of the run are there, and its end will be reported when they have been sent."""
        ...


class Nobodys:
    """An `OwnRun` without an exporter of this package: only the configured SDK exports what is recorded."""

    shows_end = False

    def begin(self) -> Participation | None:
        """Take the rank from the environment; None in a process that `multiprocessing` started."""
        # Such a process has the resource of the process that started it.
        if is_started_by_multiprocessing():
            return None
        part = Participation.of(_settings(), Membership(rank_info_of(environment())))
        # Nothing of ours exports, so there is no relay.
        return replace(part, journals=None)

    def watch(self, signals: Signals) -> None:
        """Do nothing."""

    def training_begins(self) -> None:
        """Do nothing."""

    @property
    def trainings(self) -> None:
        """None."""
        return None

    def end(self) -> None:
        """Do nothing."""

    def send_files(self) -> None:
        """Do nothing."""
