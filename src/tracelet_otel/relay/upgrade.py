"""Journals as version 0.1.0 wrote them, brought into today's form.

They held the OTLP requests as they came, and for each backend the samples that it was done with.
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


def is_of_0_1_0(connection: sqlite3.Connection) -> bool:
    """Whether a database is such a journal."""
    return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'body'").fetchall())


def upgrade(connection: sqlite3.Connection) -> None:
    """Bring its tables into today's form, which are there and empty; within a transaction of the caller's.

    Samples with which only some backends were done are sent to those again: today's form has no place for that.

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
        batches = [_without(without_known(batch, seen), done) for batch in part_of(parse(content)).batches]
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
    """Samples that no backend of the run needs, by their process."""
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
