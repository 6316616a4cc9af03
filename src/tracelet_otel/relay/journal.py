"""The journal of a run: a SQLite file with what a relay has accepted and not delivered yet."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Final

from tracelet_otel._support.forks import keep_in_children
from tracelet_otel.errors import TraceletError
from tracelet_otel.protocol.notice import NOTICE_SUFFIX
from tracelet_otel.relay.lock import claim
from tracelet_otel.relay.ranges import stored
from tracelet_otel.relay.upgrade import needs_upgrade, upgrade

SUFFIX: Final = ".journal"
SIDECAR_DIRECTORY: Final = "sidecar"
"""Subdirectory for the journals of a sidecar, apart from those of relays that a training has launched."""
_VERSION: Final = 2
_SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS ready (id INTEGER PRIMARY KEY AUTOINCREMENT, readings INTEGER NOT NULL,
    content BLOB NOT NULL)""",
    "CREATE TABLE IF NOT EXISTS unmerged (id INTEGER PRIMARY KEY AUTOINCREMENT, content BLOB NOT NULL)",
    """CREATE TABLE IF NOT EXISTS position (backend TEXT PRIMARY KEY, after INTEGER NOT NULL, row INTEGER NOT NULL,
    taken INTEGER NOT NULL, delivered INTEGER NOT NULL, refused INTEGER NOT NULL)""",
    "CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    f"PRAGMA user_version = {_VERSION}",
)


class JournalInUseError(TraceletError):
    """The journal is open already, in this or another process."""


class JournalError(TraceletError):
    """The journal cannot be read or written."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far a backend is in the rows of a journal; it is done with a reading once that is delivered or refused."""

    after: int = 0
    """The backend is done with all rows up to this id."""
    row: int = 0
    """Id of the next row, if the backend is done with a part of it; 0 if not."""
    taken: int = 0
    """How many readings of that row it is done with."""
    delivered: int = 0
    """Readings that it has accepted since the beginning of the run."""
    refused: int = 0
    """Readings that it has not accepted and never will."""


@dataclass(frozen=True, slots=True)
class Written:
    """Ids of the rows that one call of `Journal.write` has added to each table."""

    ready: tuple[int, ...] = ()
    unmerged: int | None = None


class _Connection(sqlite3.Connection):
    """A connection that can be referred to weakly."""


class Journal:
    """The queue of one run: rows of readings for its backends, and how far each backend is.

    A row holds readings that can be sent to every backend. Readings that have to be merged with those of other ranks
    first are kept in another table, `unmerged`. A journal can be open only once. What a method has written is
    on the disk when it returns, unless it says otherwise.

    Args:
        path: the file; it is created where it does not exist.
        wait_s: seconds to wait where another process has it open.

    Raises:
        JournalInUseError: it is open already.
        JournalError: it cannot be read or written.
    """

    def __init__(self, path: Path, wait_s: float = 0) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._claim = claim(path)
        if self._claim is None:
            raise JournalInUseError(f"the journal {path} is in use by this process")
        connection: sqlite3.Connection | None = None
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            connection = sqlite3.connect(
                path, timeout=wait_s, isolation_level=None, check_same_thread=False, factory=_Connection
            )
            # A forked child that closed its copy would be taken for the owner, and delete what the parent is writing.
            keep_in_children(connection)
            # Exclusive mode keeps other processes out. It also needs no shared memory, which network file systems lack.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            is_old = needs_upgrade(connection, _VERSION)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA:
                connection.execute(statement)
            if is_old:
                upgrade(connection)
            connection.execute("COMMIT")
        except (OSError, sqlite3.Error, ValueError) as error:
            if connection is not None:
                connection.close()
            self._claim.release()
            # The whole message is compared, since an address in another message may contain these words.
            if isinstance(error, sqlite3.Error) and str(error) == "database is locked":
                raise JournalInUseError(f"the journal {path} is in use by another process") from None
            raise JournalError(f"the journal {path} cannot be used: {error}") from error
        self._connection = connection

    @property
    def state(self) -> dict[str, Any]:
        """The values that `write` and `remember` have stored, by key, in the order in which they were."""
        rows = self._rows("SELECT key, value FROM state ORDER BY rowid")
        try:
            return {key: json.loads(value) for key, value in rows}
        except ValueError as error:
            raise JournalError(f"the journal {self.path} cannot be read: {error}") from error

    @property
    def is_empty(self) -> bool:
        """Whether no sample has been accepted."""
        return not any(stored(self.state, "seen").values()) and not self._rows(
            "SELECT 1 FROM ready UNION ALL SELECT 1 FROM unmerged LIMIT 1"
        )

    @property
    def size_bytes(self) -> int:
        """Size of what the file holds; pages that are free for SQLite to use again are not counted."""
        pages, free, size = (
            self._rows(f"PRAGMA {name}")[0][0] for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def write(
        self,
        ready: Sequence[tuple[int, bytes]] = (),
        unmerged: bytes | None = None,
        merged: Iterable[int] = (),
        state: Mapping[str, Any] | None = None,
        *,
        durable: bool = True,
    ) -> Written:
        """Make several changes in one transaction.

        Args:
            ready: rows to add, each as the number of its readings and its content.
            unmerged: content to add to the table `unmerged`.
            merged: ids of rows of `unmerged` to delete.
            state: values to store, by key.
            durable: whether a crash of the machine must not lose it. If it is lost, all later writes are lost as well.

        Raises:
            JournalError: nothing was written.
        """
        with self._lock, self._transaction(durable=durable):
            numbers = [
                int(self._connection.execute("INSERT INTO ready (readings, content) VALUES (?, ?)", row).lastrowid or 0)
                for row in ready
            ]
            number = None
            if unmerged is not None:
                number = self._connection.execute("INSERT INTO unmerged (content) VALUES (?)", (unmerged,)).lastrowid
            self._connection.executemany("DELETE FROM unmerged WHERE id = ?", [(done,) for done in merged])
            self._remember(state or {})
        return Written(tuple(numbers), number)

    def remember(self, state: Mapping[str, Any]) -> None:
        """Store values by key; they replace those that were there."""
        self.write(state=state)

    def unmerged(self) -> Iterator[tuple[int, bytes]]:
        """What waits to be merged, as the id and content of each row, in the order of writing."""
        yield from self._rows("SELECT id, content FROM unmerged ORDER BY id")

    def next_row(self, after: int) -> tuple[int, bytes] | None:
        """The first row after an id, as its own id and its content; None where there is none."""
        rows = self._rows("SELECT id, content FROM ready WHERE id > ? ORDER BY id LIMIT 1", after)
        return (int(rows[0][0]), rows[0][1]) if rows else None

    def oldest_rows(self, most: int, up_to: int) -> list[tuple[int, int, int]]:
        """The first rows, each as its id, its number of readings, and its size in bytes.

        Args:
            most: return at most so many rows.
            up_to: return no row after this id.
        """
        query = "SELECT id, readings, LENGTH(content) FROM ready WHERE id <= ? ORDER BY id LIMIT ?"
        return self._rows(query, up_to, most)

    def readings_after(self, number: int) -> int:
        """How many readings the rows after an id have in all."""
        return int(self._rows("SELECT COALESCE(SUM(readings), 0) FROM ready WHERE id > ?", number)[0][0])

    @property
    def last_row(self) -> int:
        """Id of the last row that was written, even if it is deleted by now; 0 before there was one."""
        rows = self._rows("SELECT seq FROM sqlite_sequence WHERE name = 'ready'")
        return int(rows[0][0]) if rows else 0

    def position(self, backend: str) -> Position:
        """How far a backend is."""
        rows = self._rows("SELECT after, row, taken, delivered, refused FROM position WHERE backend = ?", backend)
        return Position(*rows[0]) if rows else Position()

    def move(self, positions: Mapping[str, Position], forget_to: int = 0, forget: Iterable[int] = ()) -> None:
        """Store how far backends are, and delete rows that none of them needs.

        Args:
            positions: by backend.
            forget_to: delete all rows up to this id.
            forget: delete the rows with these ids as well.
        """
        with self._lock, self._transaction():
            self._connection.executemany(
                "INSERT OR REPLACE INTO position (backend, after, row, taken, delivered, refused) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                [(backend, *astuple(position)) for backend, position in positions.items()],
            )
            self._connection.execute("DELETE FROM ready WHERE id <= ?", (forget_to,))
            self._connection.executemany("DELETE FROM ready WHERE id = ?", [(number,) for number in forget])

    def clear(self) -> None:
        """Delete all rows, and all that waits to be merged."""
        with self._lock, self._transaction():
            self._connection.execute("DELETE FROM ready")
            self._connection.execute("DELETE FROM unmerged")

    def close(self) -> None:
        """Close the file and keep it."""
        with self._lock:
            self._connection.close()
            if self._claim is not None:
                self._claim.release()

    @contextlib.contextmanager
    def closed_on_error(self) -> Iterator[None]:
        """Close the file if the block raises; while it is open, nothing else could open it."""
        try:
            yield
        except BaseException:
            self.close()
            raise

    def remove(self) -> None:
        """Close the file and delete it, while it is locked: who waits for the lock could have it before that else."""
        is_gone = False
        self.path.with_suffix(NOTICE_SUFFIX).unlink(missing_ok=True)
        with self._lock, contextlib.suppress(sqlite3.Error, OSError):
            if self._connection.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",):
                self.path.unlink()
                is_gone = True
        self.close()
        for suffix in () if is_gone else ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def _remember(self, state: Mapping[str, Any]) -> None:
        self._connection.executemany(
            "INSERT OR REPLACE INTO state (key, value) VALUES (?, ?)",
            [(key, json.dumps(value)) for key, value in state.items()],
        )

    def _rows(self, query: str, *parameters: Any) -> list[Any]:
        try:
            with self._lock:
                return self._connection.execute(query, parameters).fetchall()
        except (sqlite3.Error, ValueError) as error:
            raise JournalError(f"the journal {self.path} cannot be read: {error}") from error

    @contextlib.contextmanager
    def _transaction(self, *, durable: bool = True) -> Iterator[None]:
        """Commit all that the block writes, or nothing of it; `_lock` has to be held."""
        try:
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise JournalError(f"the journal {self.path} cannot be written: {error}") from error
