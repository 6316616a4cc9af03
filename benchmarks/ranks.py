"""Many ranks that send to one relay: what arrives, how long it takes, and what the relay needs for it.

    python -m benchmarks.ranks [--smallest]

The relay is the one of `tracelet-otel relay`, which writes into MLflow on SQLite. Ranks are simulated, on the same
machine: each logs a row of ten names a second, and sends it in a request of its own. Every mean of every run is
checked. One more case is a long run, of which each tenth is compared with the first: it costs what it does.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
from benchmarks.child import environment
from benchmarks.options import run
from benchmarks.report import show
from benchmarks.results import Results
from benchmarks.servers import mlflow_database
from benchmarks.simulated_ranks import Order, mean
from tests.support.waiting import free_port, wait_until

from tracelet_otel.protocol.messages import Status
from tracelet_otel.session.calls import Address, fetch_status

NAMES = 10
PROCESSES = 2
"""In how many processes the ranks are simulated."""


@dataclass(frozen=True, slots=True)
class Case:
    """Runs that send to one relay at once."""

    runs: int
    ranks: int
    """How many each run has."""
    rows_a_request: int = 1

    @property
    def name(self) -> str:
        """What the table calls it."""
        return f"{self.runs} x {self.ranks}"


@dataclass(frozen=True, slots=True)
class Size:
    """How much is logged."""

    seconds: int = 60
    cases: Sequence[Case] = (Case(1, 16), Case(1, 64), Case(1, 256), Case(1, 1024), Case(200, 4))
    long_seconds: int = 400
    long_case: Case = Case(1, 256, rows_a_request=10)


class Relay:
    """A relay of many runs, as somebody starts it by hand.

    Args:
        home: an empty directory.
        database: an empty database of MLflow's.
    """

    def __init__(self, home: Path, database: Path) -> None:
        self.database = home / "mlflow.db"
        self.database.write_bytes(database.read_bytes())
        self.address = Address(f"http://127.0.0.1:{free_port()}", secrets.token_hex(16))
        self._log = (home / "relay.log").open("wb")
        variables = environment(
            TRACELET_RELAY_TOKEN=self.address.token,
            TRACELET_JOURNAL_DIR=str(home / "journals"),
            MLFLOW_TRACKING_URI=f"sqlite:///{self.database}",
        )
        started = "from tracelet_otel.cli import main; main()"
        command = [sys.executable, "-c", started, "relay", "--bind", self.address.endpoint.partition("//")[2]]
        self._child = subprocess.Popen(command, cwd=home, env=variables, stdout=self._log, stderr=self._log)
        self._process = psutil.Process(self._child.pid)
        wait_until(lambda: b"listening on" in (home / "relay.log").read_bytes(), 60, "the relay's start")

    @property
    def cpu_s(self) -> float:
        """Processor time that it has used."""
        return sum(self._process.cpu_times()[:2])

    @property
    def memory_mib(self) -> float:
        """Its memory now."""
        return self._process.memory_info().rss / 2**20

    def status(self, run_id: str) -> Status | None:
        """How far a run is."""
        return fetch_status(self.address, run_id)

    def stop(self) -> None:
        """End it."""
        self._child.terminate()
        self._child.wait(60)
        self._log.close()


@contextmanager
def _relay(database: Path) -> Iterator[Relay]:
    with tempfile.TemporaryDirectory() as home:
        relay = Relay(Path(home), database)
        try:
            yield relay
        finally:
            relay.stop()


def measure(case: Case, seconds: int, database: Path) -> dict[str, Any]:
    """Send the rows of all ranks of a case, one request a second from each, and check what the tracker has.

    Args:
        case: runs and ranks.
        seconds: how long.
        database: an empty database of MLflow's.
    """
    rows = seconds * case.rows_a_request
    runs = [f"run-{number}" for number in range(case.runs)]
    with _relay(database) as relay:
        began_s = time.time() + 3 + case.runs * case.ranks / 500
        senders = [_sender(one) for one in _orders(case, runs, relay.address, rows, began_s)]
        time.sleep(max(began_s - time.time(), 0))
        cpu_s, memory_mib = [relay.cpu_s], [relay.memory_mib]
        while any(sender.poll() is None for sender in senders):
            time.sleep(0.5)
            cpu_s.append(relay.cpu_s)
            memory_mib.append(relay.memory_mib)
        wall_s = time.time() - began_s
        reports = [json.loads(sender.communicate()[0]) for sender in senders]
        accepted_s = time.monotonic()
        wait_until(lambda: all((one := relay.status(name)) is None or one.over for name in runs), 600, "the runs' end")
        delivered_s = time.monotonic() - accepted_s
        statuses = [relay.status(name) for name in runs]
        found = _found(relay.database)
    readings = case.runs * case.ranks * NAMES * rows
    total = {what: sum(one[what] for one in reports) for what in ("requests", "again", "refused")}
    tenths = [cpu_s[len(cpu_s) * tenth // 10] for tenth in range(10)] + [cpu_s[-1]]
    return {
        "runs": case.runs,
        "ranks": case.ranks,
        "readings": readings,
        "seconds": seconds,
        **total,
        "accepted_s": max(one["last_s"] for one in reports),
        "longest_s": max(one["longest_s"] for one in reports),
        "delivered_s": delivered_s,
        **_compared(case, runs, rows, found),
        "errors": {text: number for one in statuses if one is not None for text, number in one.errors.items()},
        "us": (cpu_s[-1] - cpu_s[0]) / readings * 1e6,
        "cores": (cpu_s[-1] - cpu_s[0]) / wall_s,
        "memory_mib": max(memory_mib),
        "tenths_us": [(after - before) / (readings / 10) * 1e6 for before, after in pairwise(tenths)],
        "tenths_mib": [memory_mib[len(memory_mib) * tenth // 10] for tenth in range(10)] + [memory_mib[-1]],
    }


def _orders(case: Case, runs: list[str], address: Address, rows: int, began_s: float) -> list[Order]:
    """What each process simulates: a share of the runs, or of the ranks of the only run."""
    shares = min(PROCESSES, max(case.runs, case.ranks))
    common: dict[str, Any] = {
        "endpoints": [address.endpoint],
        "token": address.token,
        "ranks": case.ranks,
        "names": NAMES,
        "rows": rows,
        "interval_s": 1.0,
        "began_s": began_s,
        "rows_a_request": case.rows_a_request,
        "owns_run": True,
    }
    if case.runs > 1:
        edges = [case.runs * share // shares for share in range(shares + 1)]
        return [Order(**common, runs=runs[one:two], first=0, last=case.ranks) for one, two in pairwise(edges)]
    edges = [case.ranks * share // shares for share in range(shares + 1)]
    return [Order(**common, runs=runs, first=one, last=two) for one, two in pairwise(edges)]


def _sender(order: Order) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.simulated_ranks", json.dumps(asdict(order))]
    return subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)


def _found(database: Path) -> list[tuple[str, str, int, float]]:
    """Name of the run, name, step and value of each point that was logged."""
    query = """SELECT runs.name, key, step, value FROM metrics JOIN runs ON runs.run_uuid = metrics.run_uuid
        WHERE key LIKE 'metric %'"""
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()


def _compared(case: Case, runs: list[str], rows: int, found: list[tuple[str, str, int, float]]) -> dict[str, int]:
    means = {(f"metric {name}", row): mean(case.ranks, name, row) for name in range(NAMES) for row in range(rows)}
    places = {point[:3] for point in found}
    return {
        "missing": len(means) * len(runs) - len(places),
        "wrong": sum(means.get((name, step)) != value for _, name, step, value in found),
        "twice": len(found) - len(places),
    }


def main(size: Size, results: Results) -> None:
    """Run it, print the tables, and leave figures."""
    with tempfile.TemporaryDirectory() as home:
        database = mlflow_database(Path(home))
        cases = {case.name: measure(case, size.seconds, database) for case in size.cases}
        long = measure(size.long_case, size.long_seconds, database)
    results.write("ranks", {"results": {**cases, "long": long}})
    show(results, "many ranks", "long run")
    for name, found in {**cases, "long": long}.items():
        lost = {what: found[what] for what in ("missing", "wrong", "twice", "refused", "errors") if found[what]}
        if lost:
            sys.exit(f"{name}: not all of it arrived as it was sent: {lost}")


if __name__ == "__main__":
    run(main, Size(), smallest=Size(seconds=2, cases=(Case(2, 2),), long_seconds=2, long_case=Case(1, 2, 2)))
