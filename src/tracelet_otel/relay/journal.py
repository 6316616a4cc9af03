"""What a relay has accepted and not delivered yet, in a SQLite file for each run."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tracelet_otel.errors import TraceletError

SUFFIX: Final = ".journal"
SIDECAR_DIRECTORY: Final = "sidecar"
"""Where a relay that belongs to no training keeps its journals, apart from those of the others."""
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS body (id INTEGER PRIMARY KEY, content BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS taken (backend TEXT PRIMARY KEY, delivered INTEGER NOT NULL, refused INTEGER NOT NULL,
    samples TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


class JournalInUseError(TraceletError):
    """Another process has the journal."""


class JournalError(TraceletError):
    """The journal cannot be read or written."""


Ranges = Mapping[str, list[tuple[int, int]]]
"""Samples by their process, as first and last number of each range."""


@dataclass(frozen=True)
class Taken:
    """What a backend is done with, counted from the beginning of the run."""

    delivered: int = 0
    refused: int = 0
    samples: Ranges = field(default_factory=dict)
    """What they were made of, and what came too late to be in any."""


class Journal:
    """Bodies in the order of their acceptance, and how far each backend is.

    One process has a journal at a time. What a method has written is on the disk when it returns.

    Args:
        path: made where it does not exist.
        wait_s: for so long another process may have it.

    Raises:
        JournalInUseError: another process has it.
        JournalError: it cannot be read or written.
    """

    def __init__(self, path: Path, wait_s: float = 0) -> None:
        self.path = path
        self._lock = threading.Lock()
        connection: sqlite3.Connection | None = None
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            connection = sqlite3.connect(path, timeout=wait_s, isolation_level=None, check_same_thread=False)
            # Exclusive: no other process, and no shared memory, which network file systems lack.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        except (OSError, sqlite3.Error) as error:
            if connection is not None:
                connection.close()
            # As a whole: an address may have the word in it.
            if isinstance(error, sqlite3.Error) and str(error) == "database is locked":
                raise JournalInUseError(f"the journal {path} is in use by another process") from None
            raise JournalError(f"the journal {path} cannot be used: {error}") from error
        self._connection = connection

    @property
    def state(self) -> dict[str, Any]:
        """What `append` and `remember` were given last, by key."""
        with self._lock, self._reading():
            rows = self._connection.execute("SELECT key, value FROM state").fetchall()
            return {key: json.loads(value) for key, value in rows}

    @property
    def is_empty(self) -> bool:
        """Whether no sample has been accepted."""
        return not any(self.state.get("seen", {}).values()) and next(self.bodies(), None) is None

    def append(self, content: bytes, state: Mapping[str, Any]) -> int:
        """Keep a body, and remember something by key together with it.

        Args:
            content: an OTLP request in protobuf, as it was accepted.
            state: what to remember.

        Returns:
            The body's number.

        Raises:
            JournalError: it is not on the disk.
        """
        with self._lock, self._transaction():
            cursor = self._connection.execute("INSERT INTO body (content) VALUES (?)", (content,))
            self._remember(state)
        return int(cursor.lastrowid or 0)

    def remember(self, state: Mapping[str, Any]) -> None:
        """Keep something by key, over what was there."""
        with self._lock, self._transaction():
            self._remember(state)

    def bodies(self) -> Iterator[tuple[int, bytes]]:
        """What is kept, in order, each with its number."""
        last = -1
        while True:
            with self._lock, self._reading():
                row = self._connection.execute(
                    "SELECT id, content FROM body WHERE id > ? ORDER BY id LIMIT 1", (last,)
                ).fetchone()
            if row is None:
                return
            last, content = row
            yield last, content

    def taken(self, backend: str) -> Taken:
        """How far a backend is."""
        with self._lock, self._reading():
            row = self._connection.execute(
                "SELECT delivered, refused, samples FROM taken WHERE backend = ?", (backend,)
            ).fetchone()
        return Taken(int(row[0]), int(row[1]), json.loads(row[2])) if row else Taken()

    def take(self, backend: str, taken: Taken) -> None:
        """Remember how far a backend is."""
        with self._lock, self._transaction():
            self._connection.execute(
                "INSERT OR REPLACE INTO taken (backend, delivered, refused, samples) VALUES (?, ?, ?, ?)",
                (backend, taken.delivered, taken.refused, json.dumps(taken.samples)),
            )

    def forget(self, number: int) -> None:
        """Drop the body with a number, and all before it."""
        with self._lock, self._transaction():
            self._connection.execute("DELETE FROM body WHERE id <= ?", (number,))

    def clear(self) -> None:
        """Drop all bodies."""
        with self._lock, self._transaction():
            self._connection.execute("DELETE FROM body")

    def close(self) -> None:
        """Let go of the file, and keep it."""
        with self._lock:
            self._connection.close()

    @contextlib.contextmanager
    def closed_on_error(self) -> Iterator[None]:
        """Let go of the file where what follows fails: nobody could open it again while we have it."""
        try:
            yield
        except BaseException:
            self.close()
            raise

    def remove(self) -> None:
        """Let go of the file and delete it."""
        self.close()
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def _remember(self, state: Mapping[str, Any]) -> None:
        self._connection.executemany(
            "INSERT OR REPLACE INTO state (key, value) VALUES (?, ?)",
            [(key, json.dumps(value)) for key, value in state.items()],
        )

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, ValueError) as error:
            raise JournalError(f"the journal {self.path} cannot be read: {error}") from error

    def _transaction(self) -> _Transaction:
        return _Transaction(self._connection, self.path)


def remove_empty(path: Path) -> None:
    """Delete a journal that nobody uses and that holds no reading."""
    if not path.exists():
        return
    # Another process may have it, for the same run.
    with contextlib.suppress(JournalInUseError, JournalError):
        journal = Journal(path)
        if journal.is_empty:
            journal.remove()
        else:
            journal.close()


def last_touched_s(path: Path) -> float:
    """When a journal was last written to, seconds since the epoch."""
    written = path.with_name(path.name + "-wal")
    return max(file.stat().st_mtime for file in (path, written) if file.exists())


class _Transaction:
    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    def __enter__(self) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise JournalError(f"the journal {self._path} cannot be written: {error}") from error

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self._connection.execute("COMMIT" if error is None else "ROLLBACK")
        except sqlite3.Error as problem:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise JournalError(f"the journal {self._path} cannot be written: {problem}") from problem
        if isinstance(error, sqlite3.Error):
            raise JournalError(f"the journal {self._path} cannot be written: {error}") from error
