"""Looks whether runs can be written to W&B, without beginning one: for `tracelet-otel doctor`.

W&B's client is not imported for it: that would change what is printed, and its first calls start wandb-core.
"""

from __future__ import annotations

import configparser
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tracelet_otel._support.environment import environment
from tracelet_otel._support.findings import Finding, fine, note, problem
from tracelet_otel._support.redact import without_credentials
from tracelet_otel._support.writable import why_not_writable
from tracelet_otel.exporters.spec import PROBE_S
from tracelet_otel.exporters.wandb.address import netrc_key
from tracelet_otel.exporters.wandb.init import OFFLINE
from tracelet_otel.exporters.wandb.options import WandbOptions
from tracelet_otel.settings import Settings

_CLOUD: Final = "https://api.wandb.ai"
_VIEWER: Final = {"query": "query Viewer { viewer { username } }"}
_NOT_LET_IN: Final = (401, 403)
_OK: Final = 200
_LOG_IN: Final = "set WANDB_API_KEY, or log in with `wandb login`"


def probe(settings: Settings, options: WandbOptions) -> Iterator[Finding]:
    """Look at the server and whether it takes the key, or at the directory of runs that are offline.

    Args:
        settings: may have a key.
        options: name the server, the mode and the directory.
    """
    variables, mode = environment(), options.wandb_mode
    if mode == "disabled":
        yield problem("WANDB_MODE=disabled turns W&B off", "unset it, or leave out the backend wandb")
        return
    why = why_not_writable(Path(options.wandb_dir or Path.cwd()))
    if why is not None:
        yield problem(
            f"{options.wandb_dir} cannot be written, where W&B keeps runs until they are uploaded: {why}",
            "name a directory with room as WANDB_DIR",
        )
    host = (options.wandb_base_url or _configured_host(variables) or _CLOUD).rstrip("/")
    key = _key(settings, options, variables, host)
    if mode in OFFLINE:
        yield fine(f"runs are kept in {options.wandb_dir}, since WANDB_MODE={mode}: upload them with `wandb sync`")
    elif key is None and variables.get("WANDB_IDENTITY_TOKEN_FILE"):
        yield note("a token file is there in the place of a key, and is not tried", "begin a short run to see")
    elif key is None and mode is not None:
        yield problem(f"WANDB_MODE={mode} and no API key", _LOG_IN)
    elif key is None:
        yield note(f"there is no API key, so runs are kept in {options.wandb_dir} for `wandb sync`", _LOG_IN)
    else:
        yield _of_server(host, key)


def _of_server(host: str, key: str) -> Finding:
    import requests

    shown = without_credentials(host)
    try:
        answer = requests.post(f"{host}/graphql", json=_VIEWER, auth=("api", key), timeout=PROBE_S)
    except requests.RequestException as error:
        return problem(
            f"W&B at {shown} cannot be reached ({type(error).__name__})",
            "see that there is a network, and that WANDB_BASE_URL is right; WANDB_MODE=offline keeps runs in a folder",
        )
    refused = problem(f"W&B at {shown} does not take the API key", f"{_LOG_IN}: the key has to be one of this server")
    if answer.status_code in _NOT_LET_IN:
        return refused
    try:
        viewer = _viewer(answer.json()) if answer.status_code == _OK else None
    except (ValueError, LookupError, TypeError):
        viewer = None
    else:
        if answer.status_code == _OK:
            return fine(f"W&B at {shown} takes the API key of {viewer['username']}") if viewer else refused
    return problem(f"{shown} answers with HTTP status {answer.status_code}", "see that WANDB_BASE_URL is a W&B server")


def _viewer(answer: Any) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = answer["data"]["viewer"]
    return found


def _key(settings: Settings, options: WandbOptions, variables: Mapping[str, str], host: str) -> str | None:
    if settings.api_key is not None:
        return settings.api_key.get_secret_value()
    return variables.get("WANDB_API_KEY") or netrc_key(host, options.wandb_netrc)


def _configured_host(variables: Mapping[str, str]) -> str | None:
    """The server that `wandb login --host` has left in W&B's settings."""
    directory = Path(variables.get("WANDB_CONFIG_DIR") or "~/.config/wandb").expanduser()
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(directory / "settings")
        return parser.get("default", "base_url", fallback=None)
    except (OSError, configparser.Error):
        return None
