"""The address of an MLflow store: the default one, how it is shown, and whether it can be used."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tracelet_otel.errors import ConfigurationError, TrackerError, TrackerUnavailableError
from tracelet_otel.settings import Settings

_TIMEOUT_S: Final = 10.0
_SERVER_ERROR: Final = 500
_PORT: Final = re.compile(r"^(\[.*\]|[^:]*)(:\d*)?$")
_DATABASE_USER: Final = re.compile(r"([^:/]*(?::.*)?)@")
"""As SQLAlchemy reads an address: a password may hold anything."""
_SECRET: Final = re.compile("pass(word|wd)?$|^pwd$|secret|token", re.IGNORECASE)
"""Options of a database's driver that are for nobody's eyes."""


def default_address() -> str:
    """A database in the working directory, as a whole path: the directory may change."""
    return f"sqlite:///{Path.cwd() / 'mlflow.db'}"


def absolute(uri: str) -> str:
    """An address that means the same from any working directory."""
    if uri.startswith("sqlite:///") and not uri.startswith("sqlite:////"):
        name = uri.removeprefix("sqlite:///")
        return f"sqlite:///{Path.cwd() / name}" if name else uri
    if "://" not in uri and not uri.startswith(("databricks", "file:")):
        return str(Path.cwd() / uri)
    return uri


def check_key(settings: Settings) -> None:
    """Refuse a credential that MLflow's client has no argument for.

    Raises:
        ConfigurationError: there is one.
    """
    if settings.api_key is not None:
        raise ConfigurationError(
            "MLflow takes no api_key: set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD"
        )


def without_credentials(uri: str) -> str:
    """A tracking URI that may be shown: user and password are left out, also where they were not escaped."""
    scheme, mark, rest = uri.partition("://")
    if not mark or rest.startswith("/"):
        return uri  # a path
    if scheme in ("http", "https"):
        end = min((rest.find(sign) for sign in "/?#" if sign in rest), default=len(rest))
        is_address = "@" in rest[:end] or _PORT.search(rest[:end])
        user = rest[:end].rpartition("@")[0] if is_address else rest.rpartition("@")[0]
    else:
        found = _DATABASE_USER.match(rest)
        user = found.group(1) if found else ""
    return f"{scheme}://{_without_secret_options(rest[len(user) :].removeprefix('@'))}"


def _without_secret_options(rest: str) -> str:
    address, mark, query = rest.partition("?")
    kept = [option for option in query.split("&") if not _SECRET.search(option.partition("=")[0])]
    return address + mark + "&".join(kept) if any(kept) else address


def check_usable(uri: str) -> None:
    """Fail at once where MLflow's own client would retry for minutes.

    Raises:
        TrackerUnavailableError: no server answers.
        TrackerError: the database cannot be written.
    """
    shown = without_credentials(uri)
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https"):
        import requests

        try:
            status = requests.get(f"{uri.rstrip('/')}/health", timeout=_TIMEOUT_S).status_code
        except requests.exceptions.SSLError:
            # A server answers; which certificates are good is for MLflow's client and its variables.
            return
        except requests.RequestException as error:
            raise TrackerUnavailableError(
                f"MLflow at {shown} cannot be reached ({type(error).__name__}): is the server running?"
            ) from None
        if status >= _SERVER_ERROR:
            raise TrackerUnavailableError(
                f"MLflow at {shown} answers with HTTP status {status}: is it starting or ill?"
            )
    elif parts.scheme == "sqlite" and parts.path.strip("/"):
        path = Path(uri.removeprefix("sqlite:///").partition("?")[0])
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.closing(sqlite3.connect(path, timeout=_TIMEOUT_S)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.rollback()
        except (OSError, sqlite3.Error) as error:
            raise TrackerError(f"MLflow's database {shown} cannot be written: {error}") from error
