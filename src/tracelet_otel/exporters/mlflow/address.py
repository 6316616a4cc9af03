"""The address of an MLflow store: what forms it has, and whether it can be used."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tracelet_otel._support.redact import without_credentials
from tracelet_otel.errors import ConfigurationError, TrackerError, TrackerUnavailableError
from tracelet_otel.settings import did_you_mean

_TIMEOUT_S: Final = 10.0
_SERVER_ERROR: Final = 500
_SCHEMES: Final = (
    "databricks",
    "databricks-uc",
    "file",
    "http",
    "https",
    "mssql",
    "mysql",
    "postgresql",
    "sqlite",
    "uc",
)
"""Schemes of addresses that MLflow knows; a database's scheme may name its driver behind a `+`.

Source: MLflow, "Backend Stores".
"""
_DATABASES: Final = ("mssql", "mysql", "postgresql")
_AT_ONCE: Final = 4
"""Calls at a time to a database other than SQLite: fewer than MLflow has connections, which are 5 or what is set."""
CREDENTIALS: Final = "MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
"""The variables with which MLflow's client logs in."""


def check_known(uri: str) -> None:
    """Check that MLflow knows this kind of address, without importing its client.

    Raises:
        ConfigurationError: it does not.
    """
    scheme, found, _ = uri.partition("://") if "://" in uri else (urlsplit(uri).scheme, "", "")
    plugins = {one.name for one in entry_points(group="mlflow.tracking_store")}
    if found and scheme.partition("+")[0] not in {*_SCHEMES, *plugins}:
        known = sorted({*_SCHEMES, *plugins})
        hint = did_you_mean(scheme, known) or "."
        raise ConfigurationError(
            f"MLflow has no kind of address {scheme}://{hint} It knows {', '.join(known)}, and databases like sqlite:///mlflow.db"
        )


def absolute(uri: str) -> str:
    """An address that means the same from any working directory."""
    if uri.startswith("sqlite:///") and not uri.startswith("sqlite:////"):
        name = uri.removeprefix("sqlite:///")
        return f"sqlite:///{Path.cwd() / name}" if name else uri
    if "://" not in uri and not uri.startswith(("databricks", "file:")):
        return str(Path.cwd() / uri)
    return uri


def is_database(uri: str) -> bool:
    """Whether MLflow's client opens a database itself, and asks no server."""
    return urlsplit(uri).scheme.partition("+")[0] in ("sqlite", *_DATABASES)


def database_file(uri: str) -> Path | None:
    """The file of a SQLite database, by the one name that it has for all; None for every other store."""
    scheme, found, name = uri.partition(":///")
    name = name.partition("?")[0]
    is_file = scheme.partition("+")[0] == "sqlite" and found and name.strip("/") and not name.startswith((":", "file:"))
    return Path(name).resolve() if is_file else None


@lru_cache(1024)
def database_lock(uri: str) -> contextlib.AbstractContextManager[Any]:
    """What is held during each call of a client, so that the runs of one process take turns at a database.

    A SQLite database has one writer at a time. For others, MLflow has few connections in a process, and who waits for
    one for too long is refused.
    """
    scheme = urlsplit(uri).scheme.partition("+")[0]
    if scheme == "sqlite":
        return threading.Lock()
    return threading.BoundedSemaphore(_AT_ONCE) if scheme in _DATABASES else contextlib.nullcontext()


if hasattr(os, "register_at_fork"):
    # A forked child has copies of its parent's locks, but not the threads that would release them.
    os.register_at_fork(after_in_child=database_lock.cache_clear)


def check_usable(uri: str, timeout_s: float = _TIMEOUT_S) -> None:
    """Fail at once where MLflow's own client would retry for minutes.

    Args:
        uri: the store's address.
        timeout_s: seconds to wait for the server, or for another process that writes to the database.

    Raises:
        TrackerUnavailableError: no server answers, or another process writes to the database for long.
        TrackerError: the database cannot be written.
    """
    shown = without_credentials(uri)
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https"):
        import requests

        try:
            status = requests.get(f"{uri.rstrip('/')}/health", timeout=timeout_s).status_code
        except requests.exceptions.SSLError:
            # A server answers. Which certificates are accepted is decided by MLflow's client and its variables.
            return
        except requests.RequestException as error:
            raise TrackerUnavailableError(
                f"MLflow at {shown} cannot be reached ({type(error).__name__}): is the server running?"
            ) from None
        if status >= _SERVER_ERROR:
            raise TrackerUnavailableError(
                f"MLflow at {shown} answers with HTTP status {status}: is it starting or ill?"
            )
    elif (path := database_file(uri)) is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.closing(sqlite3.connect(path, timeout=timeout_s)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.rollback()
        except (OSError, sqlite3.Error) as error:
            # The whole message is compared, since an address in another message may contain these words.
            kind = TrackerUnavailableError if str(error) == "database is locked" else TrackerError
            raise kind(f"MLflow's database {shown} cannot be written: {error}") from error
