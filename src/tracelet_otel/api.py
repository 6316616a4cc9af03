"""The one active run of this process: `start_logging`, `stop_logging` and `get_active_run`."""

from __future__ import annotations

import multiprocessing.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from tracelet_otel._support.environment import sdk_disabled
from tracelet_otel._support.guard import Guard, log
from tracelet_otel._support.private_names import LIGHTNING, OPENTELEMETRY_SDK
from tracelet_otel._support.private_names import check as check_names
from tracelet_otel.errors import ConfigurationError
from tracelet_otel.exporters.registry import absolute, check_all, without_secrets
from tracelet_otel.instrumentation.lightning import LightningInstrumentor
from tracelet_otel.run import Run, changing
from tracelet_otel.session.ranks.rendezvous import SpawnContext
from tracelet_otel.session.role import Role
from tracelet_otel.session.roles import Roles, following
from tracelet_otel.settings import Settings, from_plain, load, to_plain, unknown_variables

_active: Run | None = None


def start_logging(
    exp_name: str | None = None,
    project: str | None = None,
    backend: str | Sequence[str] | None = None,
    api_key: str | None = None,
    backend_url: str | None = None,
    config: Mapping[str, Any] | None = None,
) -> Run:
    """Start a run, and record everything that Lightning logs from now on.

    Metrics, hyperparameters, the state of the code, and the load of GPU and host go to one or several experiment
    trackers, or to an OpenTelemetry collector. They are sent in the background. If a backend fails later, this is
    logged and the training goes on.

    Call this before `trainer.fit`, before or after the Trainer is made. An active run is ended first. The run ends
    with `run.stop()`, `stop_logging()` or its `with` block, or else when the process exits. In distributed training,
    all ranks call this: rank 0 creates the run, and the others find it in the background and send to it.

    Each setting can also be given as an environment variable `TRACELET_<NAME>`. Arguments take precedence over
    `config`, and `config` takes precedence over environment variables.

    Args:
        exp_name: name of the run. Default: the script's name and the time.
        project: project of the run; in MLflow this is the experiment. Default: `Default`.
        backend: where to send to: `mlflow`, `wandb`, `clearml` or `otlp` (OpenTelemetry). Give several as a list, or as
            text with commas. Default: `mlflow`.
        api_key: API key of the backend, if it takes one.
        backend_url: address of the backend. Default: the backend's own environment variable.
        config: more settings by name, as in `{"export_interval": 5}` (seconds). `docs/configuration.md` lists them all.

    Returns:
        The run. It can be used in a `with` statement; if an exception leaves the block, the run's outcome is `failed`.

    Raises:
        ConfigurationError: a setting is unknown or malformed, there is no such backend, another thread of this process
            has a run, or `OTEL_SDK_DISABLED=true` turns OpenTelemetry off.
        MissingDependencyError: the backend's client library is not installed. The message has the command that
            installs it.
        TrackerError: the backend cannot be reached, or can neither create nor continue the run.
        IncompatibleVersionError: the installed Lightning, OpenTelemetry SDK or wandb lacks a private name that this
            package uses. The message says which, and which versions have it.

    Example:
        >>> with start_logging("my run", project="my_project", backend=["mlflow", "wandb"]) as run:
        ...     trainer.fit(model)
        ...     run.log_metric("score", 0.93, step=120)
    """
    global _active
    arguments = {
        "exp_name": exp_name,
        "project": project,
        "backend": backend,
        "api_key": api_key,
        "backend_url": backend_url,
    }
    settings = absolute(load(arguments, config))
    if sdk_disabled():
        raise ConfigurationError("OTEL_SDK_DISABLED=true turns OpenTelemetry off, so nothing can be recorded: unset it")
    check_names(OPENTELEMETRY_SDK)
    if settings.track_lightning:
        check_names(LIGHTNING)
    # Checked before the active run is ended. A relay that is joined has backends of its own.
    check_all(settings)
    with changing:
        if _active is not None:
            _active.check_thread()
            _active.stop()
        _active = Run(settings, next_role(settings), _forget)
        return _active


def stop_logging() -> None:
    """Deliver everything and end the active run; without one, do nothing.

    `Run.stop` says how long this waits.
    """
    run = get_active_run()
    if run is not None:
        run.stop()


def get_active_run() -> Run | None:
    """Return the run that this process has started and not ended yet; None if there is none."""
    run = _active
    return run if run is not None and run.is_of_this_process else None


@dataclass(frozen=True)
class StartedRank:
    """An `InStartedProcess`: starts recording in a rank that was forked or spawned. For `spawn` it is pickled."""

    settings: Mapping[str, Any]
    """Settings of the run as `settings.to_plain` gives them, without secrets."""
    spawn_context: SpawnContext
    parent_pid: int

    def __call__(self, trainer: Any, callback: Any) -> None:
        """Record what this process trains; an error is reported and not raised."""
        if os.getpid() == self.parent_pid:
            return
        try:
            self._record(trainer, callback)
        except Exception as error:
            Guard().report("this rank is not recorded", error)

    def _record(self, trainer: Any, callback: Any) -> None:
        global _active
        with changing:
            inherited = _active
            settings = from_plain(self.settings)
            run = _active = Run(settings, following(self.spawn_context, settings), _forget)
            if inherited is not None:
                inherited.hand_on(run)
        LightningInstrumentor().enter_copy(trainer, callback)
        # Such a process may skip the handlers of `atexit`, but always runs these.
        multiprocessing.util.Finalize(None, run.stop, exitpriority=0)


def next_role(settings: Settings, of_copies: Settings | None = None) -> Role:
    """Choose the role of this process in the run that begins now.

    Args:
        settings: settings of the run.
        of_copies: settings for ranks that start as copies of this process; None for the same settings.
    """
    _say_unknown_variables()
    return _roles.next(settings, of_copies)


@cache
def _say_unknown_variables() -> None:
    # A warning and no error, since other software may use these variables. Logged once in a process.
    for variable in unknown_variables():
        log.warning("without effect, since there is no such setting: %s", variable)


def _forget(run: Run) -> None:
    global _active
    if _active is run:
        _active = None


def _make_started_rank(settings: Settings, spawn_context: SpawnContext) -> StartedRank:
    return StartedRank(to_plain(without_secrets(settings)), spawn_context, os.getpid())


_roles = Roles(_make_started_rank)
