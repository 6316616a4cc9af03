"""`TraceletLogger`, for trainers that are to have no other logger."""

from __future__ import annotations

from os import PathLike, fspath
from typing import TYPE_CHECKING

from tracelet_otel import semconv
from tracelet_otel._support.environment import environment
from tracelet_otel._support.guard import log
from tracelet_otel.api import start_logging
from tracelet_otel.api.active import get_active_run
from tracelet_otel.instrumentation.by_hand import ByHand, RecordsByHand
from tracelet_otel.instrumentation.lightning import LightningInstrumentor
from tracelet_otel.instrumentation.lightning.recording_logger import RecordingLogger
from tracelet_otel.resource.rank_info import rank_info_of
from tracelet_otel.settings import DEFAULT_PROJECT

if TYPE_CHECKING:
    from tracelet_otel.instrumentation.lightning.hooks import Hooks


class TraceletLogger(RecordingLogger):
    """A Lightning logger for the active run, where a trainer is to have no other logger.

    None is needed to record what Lightning logs, and with this one it is recorded once. It is for code that calls
    `self.logger`, and for a folder of checkpoints for each run: `<project>/<run id>/checkpoints`.

    Where no run is active when it is made, it starts one with the settings of the environment; not in a worker of a
    script that has one, whose trainers have runs of their own. It never ends a run.

    Args:
        save_dir: directory of these folders. Default: the trainer's `default_root_dir`.

    Raises:
        TraceletError: no run was active, and none could be started; as for `start_logging`.

    Example:
        >>> tracelet.start_logging("my run")
        >>> trainer = Trainer(logger=tracelet.TraceletLogger())
    """

    def __init__(self, save_dir: str | PathLike[str] | None = None) -> None:
        super().__init__()
        self._save_dir = None if save_dir is None else fspath(save_dir)
        self._project, self._run_id = DEFAULT_PROJECT, ""
        self._is_said = False
        # Under zero code there is a run, and no object for it.
        if (
            get_active_run() is None
            and not LightningInstrumentor().is_instrumented_by_opentelemetry
            and not _is_worker()
        ):
            start_logging()
        self._look()

    @property
    def experiment(self) -> RecordsByHand:
        """The active `Run`. Under zero code, and where none is active, an object with its methods that record."""
        run, hooks = get_active_run(), self._hooks
        return run or ByHand(None if hooks is None else hooks.signals)

    @property
    def name(self) -> str:
        """The run's project, as the name of a folder."""
        self._look()
        parts = [part for part in self._project.split("/") if part not in ("", ".", "..")]
        return "/".join(parts) or DEFAULT_PROJECT

    @property
    def version(self) -> str:
        """The run's id."""
        self._look()
        return self._run_id

    @property
    def save_dir(self) -> str | None:
        """Directory of the folders of runs; None for the trainer's `default_root_dir`."""
        return self._save_dir

    @property
    def _hooks(self) -> Hooks | None:
        hooks = LightningInstrumentor().hooks
        if hooks is None and not self._is_said and get_active_run() is None:
            self._is_said = True
            log.warning("what TraceletLogger gets is not recorded: no run is active. Call start_logging before")
        return hooks

    def _look(self) -> None:
        """Keep what is known of the active run, also for when it has ended."""
        run, hooks = get_active_run(), LightningInstrumentor().hooks
        if run is not None:
            # A rank that has not found its run yet does not know the id.
            self._project, self._run_id = run.project, run.id or self._run_id
        elif hooks is not None:
            identity = hooks.signals.identity
            self._project = str(identity.get(semconv.PROJECT_NAME, DEFAULT_PROJECT))
            self._run_id = str(identity.get(semconv.RUN_ID, self._run_id))


def _is_worker() -> bool:
    """Whether this process works for another one that has a run, and is no rank that takes part in that one."""
    return LightningInstrumentor().routes.is_worker and rank_info_of(environment()) is None
