"""A tracker that is down for hours: memory of training and relay, and what arrives afterwards.

    python -m benchmarks.outage [--hours 24] [--arrive 1]

A training logs what 1,000 readings a second make in so many hours, as fast as its relay takes it, while the MLflow
server drops each connection. Then both are killed. Every value is read from the journal as a delivery reads it, and
compared. With `--arrive` the same follows for that many hours with a server that is well again: `tracelet-otel replay`
delivers the journal, and every value is compared with what the server has stored.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from benchmarks.child import environment
from benchmarks.options import run
from benchmarks.report import show
from benchmarks.results import Results
from benchmarks.servers import mlflow_server
from tests.support.door import Door

from tracelet_otel._support.guard import Guard
from tracelet_otel.relay.journal import Journal
from tracelet_otel.relay.outbox import Outbox

READINGS_PER_S = 1_000
NAMES = 10
RATIO = 0.6180339887498949
"""Multiples of it, without their whole parts, differ from each other in all digits, as losses do."""

TRAINING = f"""
import json, os, sys, time
order = json.loads(sys.argv[1])
import psutil
import tracelet_otel as tracelet
from tracelet_otel import semconv
from tracelet_otel.instrumentation.recorder import Row

config = {{"track_system": False, "export_interval": 0.01}}
run = tracelet.start_logging("outage", backend_url=order["server"], config=config)
(relay,) = psutil.Process().children()
print(json.dumps({{"relay": relay.pid}}), flush=True)
sys.stdin.readline()
for row in range(order["readings"] // {NAMES}):
    values = {{f"metric {{name}}": (row * {NAMES} + name) * {RATIO} % 1 for name in range({NAMES})}}
    run._signals.recorder.record(Row(time.time_ns(), values, row, semconv.AXIS_TRAINER, "fit", 0))
    if row % 1_000 == 999:
        # As fast as the relay takes it.
        while (pending := run.accounts["mlflow"].pending) < (row + 1) * {NAMES} - 100_000:
            time.sleep(0.01)
        print(json.dumps({{"pending": pending}}), flush=True)
while run.accounts["mlflow"].pending < order["readings"]:
    time.sleep(0.01)
print(json.dumps({{"errors": run.errors}}), flush=True)
sys.stdin.readline()
"""


@dataclass(frozen=True, slots=True)
class Size:
    """For how long the tracker is down."""

    hours: float = 24.0
    """Where the journal is read."""
    arrive: float = 1.0
    """Hours where the journal is delivered."""


def outage(readings: int, home: str, server: str) -> dict[str, Any]:
    """Log so many readings while the server is down, and kill training and relay; the journal is left."""
    door = Door(server)
    training = subprocess.Popen(
        [sys.executable, "-c", TRAINING, json.dumps({"server": door.uri, "readings": readings})],
        cwd=home, env=environment(TRACELET_JOURNAL_DIR=home), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    said = map(json.loads, training.stdout)
    processes = {"training": psutil.Process(training.pid), "relay": psutil.Process(next(said)["relay"])}
    door.ill = "down"
    before = {name: process.memory_info().rss / 2**20 for name, process in processes.items()}
    most, errors = dict(before), {}
    began_s = time.monotonic()
    training.stdin.write("go\n")
    training.stdin.flush()
    for line in said:
        most = {name: max(most[name], process.memory_info().rss / 2**20) for name, process in processes.items()}
        if "errors" in line:
            errors = line["errors"]
            break
    took_s = time.monotonic() - began_s
    # The relay first: it would end the run.
    for process in reversed(processes.values()):
        process.kill()
    training.communicate()
    psutil.wait_procs(processes.values())
    door.stop()
    return {"before_mib": before, "most_mib": most, "errors": errors, "took_s": took_s}


def in_journal(path: Path) -> Iterator[tuple[str, int, float]]:
    """What a delivery would hand to its tracker."""
    journal = Journal(path)
    lane = Outbox(journal, 2**62, Guard()).lane("another tracker")
    while found := lane.first(1_000):
        yield from ((one.name, one.step, one.value) for one in found)
        lane.take(len(found), 0)
    journal.close()


def expected(readings: int) -> Iterator[tuple[str, int, float]]:
    """What was logged, in order."""
    for number in range(readings):
        row, name = divmod(number, NAMES)
        yield f"metric {name}", row, number * RATIO % 1


def day(hours: float, server: str) -> dict[str, Any]:
    """Memory during an outage, and what the journal has after it."""
    readings = int(hours * 3600 * READINGS_PER_S) // NAMES * NAMES
    with tempfile.TemporaryDirectory() as home:
        found = outage(readings, home, server)
        (path,) = Path(home).glob("*.journal")
        size = path.stat().st_size
        own = psutil.Process()
        before, most, same = own.memory_info().rss, 0, 0
        for kept, logged in zip(in_journal(path), expected(readings), strict=True):
            same += kept == logged
            if not logged[1] % 10_000:
                most = max(most, own.memory_info().rss)
    reader_mib = (most - before) / 2**20
    return {**found, "hours": hours, "readings": readings, "journal": size, "same": same, "reader_mib": reader_mib}


def arrival(hours: float, server: str, database: Path) -> dict[str, Any]:
    """What the server has after an outage, when the next relay has delivered the journal."""
    readings = int(hours * 3600 * READINGS_PER_S) // NAMES * NAMES
    with tempfile.TemporaryDirectory() as home:
        found = outage(readings, home, server)
        (path,) = Path(home).glob("*.journal")
        began_s = time.monotonic()
        command = [str(Path(sys.executable).with_name("tracelet-otel")), "replay", str(path), "--backend-url", server]
        replay = psutil.Popen(command, env=environment(), stdout=subprocess.DEVNULL)
        most = 0
        while replay.poll() is None:
            most = max(most, replay.memory_info().rss)
            time.sleep(0.2)
        took_s = time.monotonic() - began_s
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        stored = connection.execute("SELECT key, step, value FROM metrics ORDER BY step, key")
        same = sum(one == logged for one, logged in zip(stored, expected(readings), strict=True))
        (status,) = connection.execute("SELECT status FROM runs").fetchone()
    return {**found, "hours": hours, "readings": readings, "same": same, "status": status,
            "replay_mib": most / 2**20, "replay_s": took_s, "code": replay.returncode}  # fmt: skip


def main(size: Size, results: Results) -> None:
    """Run it, print the table, and leave figures."""
    measured = {}
    with tempfile.TemporaryDirectory() as home, mlflow_server(Path(home)) as server:
        measured["arrival"] = arrival(size.arrive, server, Path(home) / "server.db")
        measured["day"] = day(size.hours, server)
    results.write("outage", {"results": measured})
    show(results, "outage")


if __name__ == "__main__":
    # A little more than the 1,000 rows after which a training tells what is pending.
    run(main, Size(), smallest=Size(hours=0.003, arrive=0.003))
