"""Makes a new SQLite database for MLflow as a whole, so that nobody ever meets one that is half made.

MLflow makes the tables of a new database in dozens of migrations, in the place where it is. Two processes that do so
at once both fail, and may leave a database that nobody can open. Ours wait for each other at a lock. Others, such as an
`MLFlowLogger` of the same script, know no lock of ours: so the database is made in another place and then put where it
belongs in one step, and one that somebody else is making is waited for.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tracelet_otel._support.file_lock import file_lock
from tracelet_otel.exporters.mlflow.address import database_file

_QUIET_S: Final = 3.0
"""A database in which nothing has changed for so long is made by nobody."""
_LONGEST_S: Final = 30.0
"""How long somebody else is waited for at most."""
_PAUSE_S: Final = 0.05


@contextlib.contextmanager
def process_lock(uri: str) -> Iterator[None]:
    """Hold a lock, so that no other process of this user opens the same SQLite database meanwhile.

    It only saves work: where it is not shared, as between users, machines or different temporary directories, each
    makes a database, and the first one in its place is the one that counts.

    Args:
        uri: the store's address; for all but files of SQLite nothing is held.
    """
    path = database_file(uri)
    if path is None or sys.platform == "win32":
        yield
        return
    name = f"tracelet-mlflow-{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}-{os.getuid()}.lock"
    with file_lock(Path(tempfile.gettempdir(), name)):
        yield


def make_store(uri: str) -> None:
    """Make the SQLite database of an address, where there is none; wait for it where somebody else is making it.

    What cannot be done is left to MLflow, which makes it in its place, and to `check_usable`, which says what is wrong.

    Args:
        uri: the store's address; for all but files of SQLite nothing is done.
    """
    path = database_file(uri)
    if path is None:
        return
    if not path.exists():
        beside = path.with_name(f"{path.name}-new-{os.getpid()}")
        with contextlib.suppress(OSError, sqlite3.Error):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                _write_new(beside)
                # Fails where there is one meanwhile.
                os.link(beside, path)
                return
            finally:
                beside.unlink(missing_ok=True)
    if path.exists():
        _wait_until_made(path)


def _write_new(path: Path) -> None:
    """Write a database with MLflow's tables to a file."""
    from mlflow import MlflowClient

    with tempfile.TemporaryDirectory(prefix="tracelet-mlflow-", ignore_cleanup_errors=True) as home:
        # MLflow keeps a connection to what it has made. So that is not the file that will be used.
        made = Path(home, "mlflow.db")
        uri = f"sqlite:///{made}"
        MlflowClient(tracking_uri=uri, registry_uri=uri).search_experiments(max_results=1)
        with contextlib.closing(sqlite3.connect(made)) as source, contextlib.closing(sqlite3.connect(path)) as target:
            source.backup(target)


def _wait_until_made(path: Path) -> None:
    ends_s = time.monotonic() + _LONGEST_S
    seen, seen_s = _change(path), time.monotonic()
    while not _is_made(path) and time.monotonic() < min(ends_s, seen_s + _QUIET_S):
        time.sleep(_PAUSE_S)
        now = _change(path)
        if now != seen:
            seen, seen_s = now, time.monotonic()


def _is_made(path: Path) -> bool:
    """Whether MLflow is done with making a database: the last that it makes is the default experiment."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT 1 FROM experiments LIMIT 1").fetchone() is not None
    except sqlite3.Error:
        return False


def _change(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size
