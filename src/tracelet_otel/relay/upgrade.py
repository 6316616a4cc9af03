"""Converts journals that version 0.1.0 wrote to today's tables.

They held the OTLP requests as they came (table `body`), and for each backend the samples that it was done with (table
`taken`).
"""

from __future__ import annotations

import functools
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tracelet_otel.protocol.decode import Batch
from tracelet_otel.protocol.requests import parse
from tracelet_otel.relay.packing import pack, pack_shares
from tracelet_otel.relay.parts import alone, part_of, share, stream_of, without_known
from tracelet_otel.relay.ranges import IntegerRanges, seen_of
from tracelet_otel.settings import OTLP


def needs_upgrade(connection: sqlite3.Connection, version: int) -> bool:
    """Whether a database is a journal of version 0.1.0.

    Args:
        connection: the database.
        version: number of today's tables.

    Raises:
        DatabaseError: it has the tables of a newer version.
    """
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found not in (0, version):
        raise sqlite3.DatabaseError("a newer version of tracelet-otel has written it, and can deliver it")
    return found == 0 and bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'body'").fetchall())


def upgrade(connection: sqlite3.Connection) -> None:
    """Fill today's tables from the old ones, and drop those.

    Samples with which only some backends were done are sent to those again: today's tables have no place for that.

    Args:
        connection: a database with an open transaction, in which today's tables exist and are empty.

    Raises:
        ValueError: something in it cannot be read.
    """
    taken = {
        backend: (delivered, refused, json.loads(samples))
        for backend, delivered, refused, samples in connection.execute("SELECT * FROM taken")
    }
    done = _done_by_all(connection, {backend: samples for backend, (_, _, samples) in taken.items()})
    seen: dict[str, IntegerRanges] = {}
    for (content,) in connection.execute("SELECT content FROM body ORDER BY id").fetchall():
        batches = [
            _without(without_known(batch, seen), done) for batch in part_of(parse(content).resource_metrics).batches
        ]
        ready = [reading for batch in batches for reading in alone(batch)]
        shares = [found for batch in batches if (found := share(batch)) is not None and found.readings]
        if ready:
            connection.execute("INSERT INTO ready (readings, content) VALUES (?, ?)", (len(ready), pack(ready)))
        if shares:
            connection.execute("INSERT INTO unmerged (content) VALUES (?)", (pack_shares(shares),))
    connection.executemany(
        "INSERT INTO position (backend, after, row, taken, delivered, refused) VALUES (?, 0, 0, 0, ?, ?)",
        [(backend, delivered, refused) for backend, (delivered, refused, _) in taken.items()],
    )
    connection.execute("DROP TABLE body")
    connection.execute("DROP TABLE taken")


def _done_by_all(connection: sqlite3.Connection, taken: Mapping[str, Any]) -> dict[str, IntegerRanges]:
    """Samples with which all backends of the run are done, by their process."""
    (plain,) = connection.execute("SELECT value FROM state WHERE key = 'settings'").fetchone() or ("{}",)
    backends = [backend for backend in json.loads(plain).get("backend", taken) if backend != OTLP]
    of_backends = [seen_of(taken.get(backend, {})) for backend in backends]
    processes = set.intersection(*map(set, of_backends)) if of_backends else set()
    return {
        process: functools.reduce(IntegerRanges.common, [one[process] for one in of_backends]) for process in processes
    }


def _without(batch: Batch, done: Mapping[str, IntegerRanges]) -> Batch:
    of_process = done.get(stream_of(batch), IntegerRanges())
    return replace(batch, readings=tuple(one for one in batch.readings if one.sequence not in of_process))
