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
from tracelet_otel.exporters.registry import absolute, check, check_process, without_secrets
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
    """Record everything that Lightning logs from now on.

    Call it before `fit`. It may be called before or after the Trainer is made. The active run, if there is one, is
    ended first. A run that is never stopped ends when the process exits. In a process of another rank than 0 the run
    is that of rank 0: it is found in the background, and nothing is created.

    Each setting can also be given as a variable `TRACELET_<NAME>`. Arguments win over `config`, and `config` wins over
    the environment.

    Args:
        exp_name: name of the run. Default: the script's name and the time.
        project: what the run belongs to: MLflow's experiment, or the project of W&B and ClearML. Default: `Default`.
        backend: `mlflow`, `wandb`, `clearml` or `otlp`; several as a list, or as text with commas. Default: `mlflow`.
        api_key: the backend's credential, where it takes one.
        backend_url: the backend's address. Default: what its own environment variable says.
        config: further settings by name, as in `{"export_interval": 5}` (seconds); `docs/configuration.md` has all.

    Returns:
        The run, which is also a context manager: left by an exception, it ends as failed.

    Raises:
        ConfigurationError: a setting or backend is unknown or malformed, OpenTelemetry's SDK is
            turned off by `OTEL_SDK_DISABLED=true`, or another thread of this process has a run.
        MissingDependencyError: the backend's client is not installed; the message has the command.
        TrackerError: the backend cannot be reached or does not give us a run.
        IncompatibleVersionError: an installed Lightning, OpenTelemetry SDK or wandb lacks something private that is
            hooked or read; the message names it, and the versions that have it.

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
    # What is unknown or missing shows before the active run is ended; a relay that is joined has its own.
    check_process(settings)
    for name in settings.backend if settings.relay_endpoint is None else ():
        check(name, settings)
    with changing:
        if _active is not None:
            _active.check_thread()
            _active.stop()
        _active = Run(settings, next_role(settings), _forget)
        return _active


def stop_logging() -> None:
    """Deliver everything and end the active run; without one, do nothing.

    Waits as long as a backend takes something, and gives up on one that has taken nothing for `stop_timeout` seconds.
    """
    run = get_active_run()
    if run is not None:
        run.stop()


def get_active_run() -> Run | None:
    """The run that this process started and has not ended."""
    run = _active
    return run if run is not None and run.is_of_this_process else None


@dataclass(frozen=True)
class StartedRank:
    """What a process does that a training started as a copy of its own: with `spawn` this is pickled."""

    settings: Mapping[str, Any]
    """As `settings.to_plain` gives them, without secrets."""
    spawn_context: SpawnContext
    parent_pid: int

    def __call__(self, trainer: Any, callback: Any) -> None:
        """See `instrumentation.launching.InStartedProcess`."""
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
        # Such a process may end without exit handlers, and always runs these.
        multiprocessing.util.Finalize(None, run.stop, exitpriority=0)


def next_role(settings: Settings, of_copies: Settings | None = None) -> Role:
    """The role of this process in the run that begins now; see `Roles.next`."""
    _say_unknown_variables()
    return _roles.next(settings, of_copies)


@cache
def _say_unknown_variables() -> None:
    # No errors: they may be somebody else's. Said once in a process.
    for variable in unknown_variables():
        log.warning("without effect, since there is no such setting: %s", variable)


def _forget(run: Run) -> None:
    global _active
    if _active is run:
        _active = None


def _make_started_rank(settings: Settings, spawn_context: SpawnContext) -> StartedRank:
    return StartedRank(to_plain(without_secrets(settings)), spawn_context, os.getpid())


_roles = Roles(_make_started_rank)
