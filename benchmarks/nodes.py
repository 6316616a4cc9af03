"""One run on many nodes, each with a collector before one relay: what the relay needs for it, and whether all arrives.

    python -m benchmarks.nodes

64 nodes of 64 ranks; each rank logs a row of 10 names a second for 30 seconds, and has the identity and 20
hyperparameters that a training has. A few nodes are real: simulated ranks send through the recorder, the SDK and the
sender to a real collector with `collector-config/node-to-relay.yaml`. For the others, what such a collector has sent
for one node is recorded first, and sent again for each with ranks, host and values of its own. The relay is a process
of its own, merges all ranks, and writes into MLflow on SQLite, in which every mean is checked.
"""

from __future__ import annotations

import contextlib
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
from benchmarks.node_traffic import NAMES, RUN_ID, Node, Ranks, Size, collector, of_node, recorded
from benchmarks.options import run
from benchmarks.report import show
from benchmarks.results import Results
from benchmarks.servers import memory_mib, mlflow_database, relay, used_s
from benchmarks.simulated_ranks import compared
from tests.support.waiting import wait_until

from tracelet_otel.session.calls import fetch_status

END_S = 600.0
"""Longest wait for the end of the run."""
SMALLEST = Size(nodes=2, real=1, ranks=4, seconds=3, start_s=3)


def stored(home: Path) -> tuple[list[tuple[str, int, float]], list[str]]:
    """Points and states of all runs in the tracker."""
    with closing(sqlite3.connect(f"file:{home}/mlflow.db?mode=ro", uri=True)) as connection:
        points = connection.execute("SELECT key, step, value FROM metrics").fetchall()
        return points, [status for (status,) in connection.execute("SELECT status FROM runs")]


def measure(size: Size, home: Path) -> dict[str, Any]:
    """Send all of it to one relay, and look at what arrives."""
    template = recorded(size, home / "recorded")
    bodies = {node: [of_node(one.request, node, size) for one in template] for node in range(size.real, size.nodes)}
    with contextlib.ExitStack() as stack:
        address, its_process = stack.enter_context(relay(home, home / "mlflow.db"))
        collectors = [
            stack.enter_context(collector(home / f"node-{node}", address.endpoint)) for node in range(size.real)
        ]
        began_s = time.time() + size.start_s
        ranks = [Ranks.start(size, node, to, began_s, owns=True) for node, (to, _) in enumerate(collectors)]
        nodes = []
        for node, own in bodies.items():
            shift_s = node / size.nodes
            due = [(one.at_s + shift_s, body) for one, body in zip(template, own, strict=True)]
            nodes.append(Node(address, due, began_s))
        most_mib = Watch(its_process)
        for thread in [most_mib, *nodes]:
            thread.start()
        time.sleep(max(began_s - time.time(), 0))
        before_s, of_collectors_s = used_s(its_process), sum(used_s(one) for _, one in collectors)
        last_row_s = began_s + size.seconds - 1
        problems = [problem for one in ranks for problem in one.problems()]
        for thread in nodes:
            thread.join()
        wait_until(lambda: len(stored(home)[0]) >= len(size.means), END_S, "the last mean")
        stored_s, relay_s = time.time() - last_row_s, used_s(its_process) - before_s
        of_collectors_s = sum(used_s(one) for _, one in collectors) - of_collectors_s
        wait_until(lambda: "RUNNING" not in stored(home)[1], END_S, "the end of the run")
        ended_s = time.time() - last_row_s
        status = fetch_status(address, RUN_ID)
    points, states = stored(home)
    readings = size.world * NAMES * size.seconds
    waits_s = [wait_s for one in nodes for wait_s in one.waits_s]
    return {
        "nodes": size.nodes, "real_nodes": size.real, "ranks": size.world, "seconds": size.seconds,
        "readings": readings, "hparams": size.hparams, "requests": len(waits_s),
        "request_bytes": statistics.median(one.request.ByteSize() for one in template),
        "relay_us": relay_s / readings * 1e6, "relay_share": relay_s / (stored_s + size.seconds - 1),
        "relay_mib": most_mib.mib, "collector_us": of_collectors_s / (size.real * readings / size.nodes) * 1e6,
        "wait_s": {"median": statistics.median(waits_s), "max": max(waits_s)},
        "accepted_s": max(one.waits_s[-1] + one.requests[-1][0] for one in nodes) - size.seconds + 1,
        "stored_s": stored_s, "ended_s": ended_s, "states": states,
        **compared((((name, step), value) for name, step, value in points), size.means),
        "problems": [*problems, *(one for node in nodes for one in node.refused), *(status.errors if status else ())],
    }  # fmt: skip


class Watch(threading.Thread):
    """Looks at the memory of a process as long as that lives."""

    def __init__(self, process: psutil.Process) -> None:
        super().__init__(daemon=True)
        self._process = process
        self.mib = 0.0
        """The most that it had."""

    def run(self) -> None:
        with contextlib.suppress(psutil.Error):
            while True:
                self.mib = max(self.mib, memory_mib(self._process))
                time.sleep(0.2)


def main(size: Size, results: Results) -> None:
    """Run it, print the table, and leave the figures; fails where not all of it arrived as it was sent."""
    with tempfile.TemporaryDirectory() as home:
        # With its tables, or the first look at it would come too early.
        mlflow_database(Path(home)).rename(Path(home, "mlflow.db"))
        found = measure(size, Path(home))
    results.write("nodes", {"results": {f"{size.nodes} nodes": found}})
    show(results, "chains")
    if found["wrong"] or found["missing"] or found["twice"] or found["problems"] or found["states"] != ["FINISHED"]:
        sys.exit(f"not all of it arrived as it was sent: {found}")


if __name__ == "__main__":
    run(main, Size(), SMALLEST)
