"""Many ranks that send to one relay: what arrives, how long it takes, and what the relay needs for it.

    python -m benchmarks.ranks

64 simulated ranks, in 4 processes, log 10 rows of 10 names a second for 30 seconds, each with a value
of its own, through the real recorder, SDK and sender. The relay merges them into one MLflow run on SQLite, in
which every mean is checked.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing

import psutil

RANKS = 64
PROCESSES = 4
NAMES = 10
ROWS_PER_S = 10
SECONDS = 30

SENDERS = f"""
import json, sys, threading, time
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from tracelet_otel import semconv
from tracelet_otel.protocol import samples
from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.recorder import Row
from tracelet_otel.instrumentation.signals import make_signals
from tracelet_otel.session.calls import Address
from tracelet_otel.session.transport import relay_exporter

run_id, endpoint, token, first, last, began_s = json.loads(sys.stdin.read())
guard = Guard()
providers, recorders, ends, exporters = [], [], [], []
for rank in range(first, last):
    exporter = relay_exporter(lambda: Address(endpoint, token), lambda: None, guard)
    reader = PeriodicExportingMetricReader(exporter, 1000, cardinality_limits=samples.cardinality_limits())
    resource = Resource({{semconv.RUN_ID: run_id, semconv.RANK: rank, "service.instance.id": f"rank {{rank}}"}})
    provider = MeterProvider([reader], resource, shutdown_on_exit=False)
    signals = make_signals(provider, guard, 1.0, owns_run=False)
    providers.append(provider); recorders.append(signals.recorder); ends.append(signals.outcome)
    exporters.append(exporter)
for number in range({SECONDS * ROWS_PER_S}):
    time.sleep(max(began_s + number / {ROWS_PER_S} - time.time(), 0))
    for rank, recorder in zip(range(first, last), recorders):
        values = {{f"metric {{name}}": float(rank * name + number) for name in range({NAMES})}}
        recorder.record(Row(time.time_ns(), values, number, semconv.AXIS_TRAINER, "fit", 0, 1, {RANKS}))
logged_s = time.time()
for outcome in ends:
    outcome.settle("finished", None)
    outcome.end()
for provider in providers:
    provider.shutdown(60_000)
left = sum(exporter.account.pending for exporter in exporters)
print(json.dumps({{"errors": guard.counts, "left": left, "took_s": time.time() - logged_s}}))
"""


def main() -> None:
    """Run it and print what came out."""
    import tracelet_otel

    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        run = tracelet_otel.start_logging("many ranks", config={"journal_dir": directory, "stop_timeout": 120})
        (relay,) = psutil.Process().children()
        address = run._role.connection.address
        share = RANKS // PROCESSES
        began_s = time.time() + 10
        senders = [
            subprocess.Popen([sys.executable, "-c", SENDERS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(PROCESSES)
        ]
        for number, sender in enumerate(senders):
            order = [run.id, address.endpoint, address.token, number * share, (number + 1) * share, began_s]
            sender.stdin.write(json.dumps(order))
            sender.stdin.close()
        memory_mib, processor_s = [], relay.cpu_times()
        while any(sender.poll() is None for sender in senders):
            memory_mib.append(relay.memory_info().rss / 2**20)
            time.sleep(0.5)
        used_s = sum(relay.cpu_times()[:2]) - sum(processor_s[:2])
        results = [json.loads(sender.stdout.read()) for sender in senders]
        ended_s = time.monotonic()
        run.stop()
        with closing(sqlite3.connect("mlflow.db")) as connection:
            rows = connection.execute("SELECT key, step, value FROM metrics").fetchall()
    expected = {
        (f"metric {name}", number): sum(rank * name + number for rank in range(RANKS)) / RANKS
        for name in range(NAMES)
        for number in range(SECONDS * ROWS_PER_S)
    }
    wrong = [row for row in rows if expected.get(row[:2]) != row[2]]
    readings = RANKS * NAMES * ROWS_PER_S * SECONDS
    print(f"sent: {readings} readings of {RANKS} ranks in {SECONDS} s; errors: {[one['errors'] for one in results]}")
    print(f"arrived: {len(rows)} means of {len(expected)}, each of {RANKS}: {len(rows) * RANKS} readings merged")
    print(f"wrong: {len(wrong)}; twice: {len(rows) - len({row[:2] for row in rows})}; errors: {run.errors}")
    print(
        f"after the last row: all accepted in {max(one['took_s'] for one in results):.1f} s, the run's end took "
        f"{time.monotonic() - ended_s:.1f} s"
    )
    middle = len(memory_mib) // 2
    print(
        f"the relay: {used_s:.1f} s of processor time; memory {memory_mib[0]:.0f} MiB at first, at most "
        f"{max(memory_mib[:middle]):.0f} MiB in the first half, {max(memory_mib[middle:]):.0f} MiB in the second"
    )
    if len(rows) != len(expected) or wrong or any(one["errors"] or one["left"] for one in results):
        sys.exit("not all of it arrived as it was sent")


if __name__ == "__main__":
    main()
