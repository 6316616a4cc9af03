"""Many ranks that send to one relay: what arrives, how long it takes, and what the relay needs for it.

    python -m benchmarks.ranks [--smallest]

The relay is the one of `tracelet-otel relay`, which writes into MLflow on SQLite. Ranks are simulated, on the same
machine: each logs a row of ten names a second, and sends it in a request of its own. Every mean of every run is
checked. One more case is a long run, of which each tenth is compared with the first: it costs what it does.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.child import environment
from benchmarks.options import run
from benchmarks.report import show
from benchmarks.results import Results
from benchmarks.servers import memory_mib, mlflow_database, relay, used_s
from benchmarks.simulated_ranks import Order, compared, mean
from tests.support.waiting import wait_until

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


def measure(case: Case, seconds: int, database: Path) -> dict[str, Any]:
    """Send the rows of all ranks of a case, one request a second from each, and check what the tracker has.

    Args:
        case: runs and ranks.
        seconds: how long.
        database: an empty database of MLflow's.
    """
    rows = seconds * case.rows_a_request
    runs = [f"run-{number}" for number in range(case.runs)]
    with (
        tempfile.TemporaryDirectory() as home,
        relay(Path(home), own := Path(shutil.copy(database, home))) as (address, process),
    ):
        began_s = time.time() + 3 + case.runs * case.ranks / 500
        senders = [_sender(one) for one in _orders(case, runs, address, rows, began_s)]
        time.sleep(max(began_s - time.time(), 0))
        cpu_s, used_mib = [used_s(process)], [memory_mib(process)]
        while any(sender.poll() is None for sender in senders):
            time.sleep(0.5)
            cpu_s.append(used_s(process))
            used_mib.append(memory_mib(process))
        wall_s = time.time() - began_s
        reports = [json.loads(sender.communicate()[0]) for sender in senders]
        accepted_s = time.monotonic()
        wait_until(
            lambda: all((one := fetch_status(address, name)) is None or one.over for name in runs), 600, "the runs' end"
        )
        delivered_s = time.monotonic() - accepted_s
        statuses = [fetch_status(address, name) for name in runs]
        found = _found(own)
    means = {
        (name, f"metric {metric}", row): mean(case.ranks, metric, row)
        for name in runs
        for metric in range(NAMES)
        for row in range(rows)
    }
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
        **compared(found, means),
        "errors": {text: number for one in statuses if one is not None for text, number in one.errors.items()},
        "us": (cpu_s[-1] - cpu_s[0]) / readings * 1e6,
        "cores": (cpu_s[-1] - cpu_s[0]) / wall_s,
        "memory_mib": max(used_mib),
        "tenths_us": [(after - before) / (readings / 10) * 1e6 for before, after in pairwise(tenths)],
        "tenths_mib": [used_mib[len(used_mib) * tenth // 10] for tenth in range(10)] + [used_mib[-1]],
    }


def _orders(case: Case, runs: list[str], address: Address, rows: int, began_s: float) -> list[Order]:
    """What each process simulates: a share of the runs, or of the ranks of the only run."""
    shares = min(PROCESSES, max(case.runs, case.ranks))
    common: dict[str, Any] = {
        "endpoint": address.endpoint,
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


def _found(database: Path) -> list[tuple[tuple[str, str, int], float]]:
    """Of each point that was logged, its place (name of the run, name and step) and its value."""
    query = """SELECT runs.name, key, step, value FROM metrics JOIN runs ON runs.run_uuid = metrics.run_uuid
        WHERE key LIKE 'metric %'"""
    with closing(sqlite3.connect(database)) as connection:
        return [((name, key, step), value) for name, key, step, value in connection.execute(query)]


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
