"""Begins a run with W&B's client: whether online or offline, and with which settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from tracelet_otel import semconv
from tracelet_otel.errors import ConfigurationError, TrackerUnavailableError
from tracelet_otel.exporters.wandb.address import netrc_key
from tracelet_otel.exporters.wandb.options import WandbOptions
from tracelet_otel.exporters.wandb.private_names import check_private_names
from tracelet_otel.protocol.run_identity import RunIdentity
from tracelet_otel.settings import DEFAULT_PROJECT, Settings

if TYPE_CHECKING:
    import wandb

FLUSH_S: Final = 0.02
"""Seconds between two writes of wandb-core to its file."""
OFFLINE: Final = ("offline", "dryrun")
"""Modes in which the run is a folder."""
_INIT_S: Final = 25.0
"""The longest wait for the server when a run begins, in seconds."""


def prepare() -> None:
    """Check W&B's client, and turn off its analytics in this process.

    Where wandb-core dies while it starts, the client tells its analytics, and these wait for ever for a lock that their
    own thread holds.

    Raises:
        IncompatibleVersionError: something private that is needed is missing.
    """
    from wandb.analytics.opentelemetry import opentelemetry_proxy

    check_private_names()
    opentelemetry_proxy.disable()


def mode_of(settings: Settings, options: WandbOptions) -> str:
    """The mode in which W&B's client runs: online where it finds an API key.

    Raises:
        ConfigurationError: W&B is turned off.
        TrackerUnavailableError: it has to be online, and there is no API key.
    """
    import wandb

    mode = options.wandb_mode
    if mode == "disabled":
        raise ConfigurationError("WANDB_MODE=disabled turns W&B off: unset it, or leave out the backend wandb")
    if mode in OFFLINE:
        return "offline"
    # Not `wandb.login`: it sends a request to the server, and saves the server's address.
    known = wandb.setup().settings
    host = options.wandb_base_url or known.base_url
    own_key = settings.api_key or known.api_key or known.identity_token_file
    has_key = own_key or netrc_key(host, options.wandb_netrc) is not None
    if mode is not None and not has_key:
        raise TrackerUnavailableError(
            f"WANDB_MODE={mode} and no API key: set WANDB_API_KEY, or log in with `wandb login`"
        )
    return mode or ("online" if has_key else "offline")


def init(run: RunIdentity, mode: str, settings: Settings, options: WandbOptions, patience_s: float) -> wandb.Run:
    """Call `wandb.init`, without changing the global state of W&B's client.

    Args:
        run: identity of the run.
        mode: what `mode_of` has returned.
        settings: settings of the run.
        options: options of the tracker.
        patience_s: how long the end of the run waits for the upload, in seconds.
    """
    import wandb

    named = run.project if run.project != DEFAULT_PROJECT else None
    # The agent of a sweep names the project in which the sweep is.
    first, other = (named, options.wandb_project) if options.wandb_sweep_id is None else (options.wandb_project, named)
    project = first or other or run.project
    key = settings.api_key.get_secret_value() if settings.api_key else None
    group, job_type = purpose(run.attributes, wandb.setup().settings)
    sweep, config = sweep_of(run.attributes, options)
    own: dict[str, Any] = {"base_url": options.wandb_base_url, "api_key": key, "sweep_id": sweep}
    return wandb.init(
        mode=mode,  # type: ignore[arg-type]
        project=project,
        name=run.run_name,
        # W&B takes these two only here.
        group=group,
        job_type=job_type,
        id=settings.run_id or options.wandb_run_id or run.run_id,
        resume=_resume(settings, options),  # type: ignore[arg-type]
        dir=options.wandb_dir,
        config=config,
        reinit="create_new",
        settings=wandb.Settings(
            **{name: value for name, value in own.items() if value is not None},
            console="off",
            silent=True,
            disable_code=True,
            disable_git=True,
            git_remote_url=run.attributes.get(semconv.VCS_REPOSITORY_URL),
            git_commit=run.attributes.get(semconv.VCS_REVISION),
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
            x_transaction_log_flush_interval=FLUSH_S,
            init_timeout=min(_INIT_S, settings.start_timeout),
            finish_timeout=patience_s,
            finish_timeout_raises=True,
        ),
    )


def purpose(attributes: Mapping[str, Any], known: wandb.Settings) -> tuple[str | None, str | None]:
    """Group and job type of a run. A child is in the group that its parent names, or has the name of.

    Args:
        attributes: attributes of the run.
        known: what W&B's client has read from the environment, which holds where this returns None.
    """
    group, job_type = attributes.get(semconv.RUN_GROUP), attributes.get(semconv.RUN_JOB_TYPE)
    parent = attributes.get(semconv.PARENT_RUN_ID)
    if parent is not None and not group and not known.run_group:
        # A relay that does not have the parent does not know its name. Those of one parent are together in any case.
        group = attributes.get(semconv.PARENT_RUN_NAME) or parent
    if parent is not None and not job_type and not known.run_job_type:
        job_type = semconv.JOB_TYPE_WORKER
    return group, job_type


def sweep_of(attributes: Mapping[str, Any], options: WandbOptions) -> tuple[str | None, str | None]:
    """The sweep that a run belongs to, and the file with what the sweep has chosen for it; None where there is none.

    The agent of a sweep starts a script for one run. Runs below that one are not the sweep's.

    Args:
        attributes: attributes of the run.
        options: options of the tracker.
    """
    if options.wandb_sweep_id is None or semconv.PARENT_RUN_ID in attributes:
        return None, None
    path = options.wandb_sweep_param_path
    return options.wandb_sweep_id, None if path is None or not path.exists() else str(path)


def _resume(settings: Settings, options: WandbOptions) -> str | None:
    if settings.run_id is not None:
        return "must"
    # The run may be there already: creation may be repeated, and a relay may be started again.
    return (options.wandb_run_id and options.wandb_resume) or "allow"
