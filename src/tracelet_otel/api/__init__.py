"""What users call. It imports little, so that a relay can be started before all else is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tracelet_otel._support.environment import sdk_disabled
from tracelet_otel._support.guard import log
from tracelet_otel.errors import ConfigurationError, TraceletError
from tracelet_otel.exporters.registry import absolute, check_all
from tracelet_otel.session import ahead
from tracelet_otel.settings import Settings, load

if TYPE_CHECKING:
    from tracelet_otel.run import Run


def start_logging(
    exp_name: str | None = None,
    project: str | None = None,
    backend: str | Sequence[str] | None = None,
    api_key: str | None = None,
    backend_url: str | None = None,
    config: Mapping[str, Any] | None = None,
    *,
    isolated: bool = False,
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
        isolated: whether the run has only what this thread trains from now on, and goes on beside those of other
            threads. `get_active_run` and `stop_logging` mean it in this thread.

    Returns:
        The run. It can be used in a `with` statement; if an exception leaves the block, the run's outcome is `failed`.

    Raises:
        ConfigurationError: a setting is unknown or malformed, there is no such backend, another thread of this process
            has a run and `isolated` is not given, or `OTEL_SDK_DISABLED=true` turns OpenTelemetry off.
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
    names = {"exp_name": exp_name, "project": project, "backend": backend, "api_key": api_key}
    try:
        settings = _checked({**names, "backend_url": backend_url}, config)
        with ahead.prepared(settings):
            from tracelet_otel.api.active import begin

            return begin(settings, isolated=isolated)
    except TraceletError as error:
        # The message says what to do. What this package was doing would only stand between it and the user's own line.
        log.debug("no run could be started", exc_info=error)
        raise error.with_traceback(None) from None


def prepare_logging(
    backend: str | Sequence[str] | None = None,
    backend_url: str | None = None,
    config: Mapping[str, Any] | None = None,
) -> None:
    """Let what a run needs be imported in the background, for a `start_logging` that comes later.

    Most of the time that a start takes is the import of the tracker's client, in the relay, which is another process.
    Call this at the top of a script, before torch and Lightning are imported and data is loaded. All of that then
    happens side by side, and `start_logging` has little to wait for.

    No run is created and no tracker is contacted. If `start_logging` is never called, the other process ends together
    with this one. Nothing happens in ranks other than the first, and where a run has no relay process of its own.

    Args:
        backend: as for `start_logging`. If that gets other backends, what was prepared is not used.
        backend_url: as for `start_logging`. It decides which parts of the client are imported.
        config: more settings by name, as for `start_logging`.

    Raises:
        ConfigurationError: a setting is unknown or malformed, or there is no such backend.
        MissingDependencyError: the backend's client library is not installed.
        TrackerError: no process can be started.

    Example:
        >>> import tracelet_otel as tracelet
        >>> tracelet.prepare_logging("mlflow")
        >>> import lightning
    """
    ahead.prepare(_checked({"backend": backend, "backend_url": backend_url}, config))


def _checked(arguments: Mapping[str, Any], config: Mapping[str, Any] | None) -> Settings:
    settings = absolute(load(arguments, config))
    if sdk_disabled():
        raise ConfigurationError("OTEL_SDK_DISABLED=true turns OpenTelemetry off, so nothing can be recorded: unset it")
    # Checked before the active run is ended. A relay that is joined has backends of its own.
    check_all(settings)
    return settings
