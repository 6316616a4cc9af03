"""Looks whether runs can be written to ClearML, without beginning one: for `tracelet-otel doctor`."""

from __future__ import annotations

from collections.abc import Iterator

from tracelet_otel._support.findings import Finding, fine, note, problem
from tracelet_otel._support.writable import why_not_writable
from tracelet_otel.errors import ConfigurationError, TraceletError
from tracelet_otel.exporters.clearml.api import ApiConnection, NotLetInError
from tracelet_otel.exporters.clearml.client import configured
from tracelet_otel.exporters.clearml.options import CREDENTIALS, ClearmlOptions
from tracelet_otel.exporters.spec import PROBE_S
from tracelet_otel.settings import Settings

_LOG_IN = f"set {CREDENTIALS}, or have them in clearml.conf"


def probe(_settings: Settings, options: ClearmlOptions) -> Iterator[Finding]:
    """Look at the server and whether it takes the credentials, or at the directory of sessions that are offline.

    Args:
        _settings: of the run.
        options: may name the server.
    """
    try:
        server, directory = configured(options)
    except ConfigurationError:
        yield problem("ClearML's server is named, and there is nothing to log in with", _LOG_IN)
        return
    if server is None:
        why = why_not_writable(directory)
        if why is not None:
            yield problem(f"{directory} cannot be written, where runs are kept: {why}", "set CLEARML_CACHE_DIR")
        yield note(
            f"no server is configured, so runs are kept in {directory}, to be imported later",
            f"set CLEARML_API_HOST and {CREDENTIALS}, or run `clearml-init`",
        )
        return
    connection = ApiConnection(server, PROBE_S)
    try:
        connection.log_in()
    except NotLetInError:
        yield problem(f"ClearML at {connection.shown} does not take the credentials", f"{_LOG_IN}, for this server")
    except TraceletError as error:
        yield problem(str(error), "start the server, or correct CLEARML_API_HOST or clearml.conf")
    else:
        # Who may log in may write: ClearML's own servers know no finer rights.
        yield fine(f"ClearML at {connection.shown} takes the credentials")
