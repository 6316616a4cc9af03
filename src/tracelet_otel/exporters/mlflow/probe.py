"""Looks whether runs can be written to an MLflow store, without beginning one: for `tracelet-otel doctor`."""

from __future__ import annotations

import contextlib
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from tracelet_otel._support.environment import environment
from tracelet_otel._support.findings import Finding, fine, note, problem
from tracelet_otel._support.redact import without_credentials
from tracelet_otel._support.writable import why_not_writable
from tracelet_otel.errors import TrackerError, TrackerUnavailableError
from tracelet_otel.exporters.mlflow.address import CREDENTIALS, check_usable, database_file
from tracelet_otel.exporters.mlflow.options import MlflowOptions
from tracelet_otel.exporters.spec import PROBE_S
from tracelet_otel.settings import Settings

_PORTS: Final = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
"""Ports of databases where the address names none."""
_NOT_LET_IN: Final = ("UNAUTHENTICATED", "PERMISSION_DENIED")
_SHORT_RUN: Final = "begin a short run to see"
_RESTORE: Final = "restore it with `mlflow experiments restore`, or give another project"
_START: Final = "start the server, or correct MLFLOW_TRACKING_URI"


def probe(settings: Settings, options: MlflowOptions) -> Iterator[Finding]:
    """Look at the store: what kind it is, whether it can be written, and the project's experiment.

    Args:
        settings: name the project.
        options: name the store.
    """
    uri = str(options.mlflow_tracking_uri)
    parts = urlsplit(uri)
    kind = parts.scheme.partition("+")[0]
    if kind in ("http", "https"):
        yield from _of_server(uri, settings.project)
    elif (path := database_file(uri)) is not None:
        yield from _of_file(uri, path, settings.project)
    elif kind in _PORTS:
        yield _of_database(parts.hostname or "localhost", parts.port or _PORTS[kind])
    elif kind in ("", "file"):
        yield from _of_folder(Path(unquote(parts.path)))
    else:
        yield note(f"a store of the kind {kind} is not asked before a run begins", _SHORT_RUN)


def _of_server(uri: str, project: str) -> Iterator[Finding]:
    shown = without_credentials(uri)
    try:
        check_usable(uri, PROBE_S)
    except TrackerUnavailableError as error:
        yield problem(str(error), _START)
        return
    yield fine("a server answers")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        experiment = MlflowClient(tracking_uri=uri, registry_uri=uri).get_experiment_by_name(project)
    except MlflowException as error:
        if error.error_code in _NOT_LET_IN:
            yield problem("the server does not take the credentials", f"set {CREDENTIALS} to those of {shown}")
        else:
            yield problem(
                f"its experiments cannot be listed: {error.message}".replace(uri, shown),
                f"see that {shown} is the address of an MLflow server, and look into its log",
            )
        return
    if experiment is not None and experiment.lifecycle_stage == "deleted":
        yield problem(f"experiment {project!r} was deleted", _RESTORE)
        return
    there = "is there" if experiment is not None else "is made by the first run"
    yield fine(f"its experiments can be listed; {project!r} {there}. Writing is not tried: that would leave something")


def _of_file(uri: str, path: Path, project: str) -> Iterator[Finding]:
    if not path.exists():
        why = why_not_writable(path.parent)
        if why is None:
            yield fine("a SQLite database, which the first run makes")
        else:
            yield problem(f"the directory of the SQLite database cannot be written: {why}", _free(path))
        return
    try:
        check_usable(uri, PROBE_S)
        stages = _stages(path, project)
    except TrackerUnavailableError as error:
        yield problem(str(error), "end what keeps the database for itself, or use an MLflow server")
    except TrackerError as error:
        yield problem(str(error), _free(path))
    except sqlite3.Error as error:
        yield problem(
            f"what is there is no database of MLflow's ({error})", "correct MLFLOW_TRACKING_URI, or move the file away"
        )
    else:
        if stages == ["deleted"]:
            yield problem(f"experiment {project!r} was deleted", _RESTORE)
        there = "is there" if stages == ["active"] else "is made by the first run"
        yield fine(f"a SQLite database, which can be written; experiment {project!r} {there}")


def _stages(path: Path, project: str) -> list[str]:
    """Whether the experiment of a project is active or deleted; empty where there is none."""
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=PROBE_S)) as connection:
        found = connection.execute("SELECT lifecycle_stage FROM experiments WHERE name = ?", (project,))
        return [stage for (stage,) in found]


def _of_database(host: str, port: int) -> Finding:
    try:
        socket.create_connection((host, port), PROBE_S).close()
    except OSError as error:
        return problem(
            f"no database answers at {host}:{port} ({type(error).__name__})",
            "start it, or correct MLFLOW_TRACKING_URI",
        )
    # MLflow's client would make its tables.
    return fine(f"a database listens at {host}:{port}. It is not asked more: MLflow would write to it")


def _of_folder(path: Path) -> Iterator[Finding]:
    why = why_not_writable(path)
    if why is not None:
        yield problem(f"the folder cannot be written: {why}", _free(path))
    elif environment().get("MLFLOW_ALLOW_FILE_STORE", "").lower() not in ("true", "1"):
        yield note(
            "new versions of MLflow keep no runs in a folder",
            "give it a database, as in sqlite:///mlflow.db, or set MLFLOW_ALLOW_FILE_STORE=true",
        )
    else:
        yield fine("a folder, which can be written")


def _free(path: Path) -> str:
    return f"make {path} writable and see that its disk has room, or name another place as MLFLOW_TRACKING_URI"
