"""Readings a second from the recorder to committed in each tracker, beside the tracker's own client.

    python -m benchmarks.throughput

Rows of ten metrics. The tracker's own client is used as it is fastest: MLflow by `log_batch` of 1,000 points, W&B by
one `log` a row, ClearML by `report_scalar`. Our exporter is timed from the requests of the SDK's exports on, in one
process; the whole way is what a user has: recorder, SDK, relay with its journal, exporter, until the account has all
readings. "Rows ready" is W&B's client as our exporter sets it up, given rows that our exporter has made before the time
begins. Interleaved repetitions; medians.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.child import figures
from benchmarks.options import run
from benchmarks.report import show
from benchmarks.results import Results
from benchmarks.servers import mlflow_database, mlflow_server

from tracelet_otel.protocol.decode import Reading, decode
from tracelet_otel.protocol.requests import parse

METRICS = 10
TRACKERS = ("MLflow, SQLite", "MLflow, server", "W&B, offline", "ClearML, offline")

OURS = """
import json, os, sys, time
order = json.loads(sys.argv[1])
os.chdir(order["home"])
import tracelet_otel as tracelet
from tracelet_otel import semconv
from tracelet_otel.instrumentation.recorder import Row

backend = {"M": "mlflow", "W": "wandb", "C": "clearml"}[order["tracker"][0]]
url = order["server"] if "server" in order["tracker"] else None
config = {"track_system": False, "export_interval": 0.5}
run = tracelet.start_logging("bench", backend=backend, backend_url=url, config=config)
values = [{f"metric {name}": name * 0.1 + row for name in range(order["metrics"])} for row in range(order["rows"])]
began_s = time.perf_counter()
for step, row in enumerate(values):
    run._signals.recorder.record(Row(time.time_ns(), row, step, semconv.AXIS_TRAINER, "fit", 0))
total = order["rows"] * order["metrics"]
for reader in run._readers:
    while run._signals.recorder.queued:
        reader.collect()
    reader.force_flush(120_000)
relayed_s = time.perf_counter() - began_s
while (account := run.accounts.get(backend)) is None or account.delivered < total:
    time.sleep(0.01)
delivered_s = time.perf_counter() - began_s
run.stop()
print(json.dumps({"ours": total / delivered_s, "relay alone": total / relayed_s}))
"""

_RECORDED = """
import json, os, sys, time
order = json.loads(sys.argv[1])
os.chdir(order["home"])
from benchmarks import throughput
from benchmarks.stopwatch import Stopwatch
from tests.support.sdk import KeepingExporter, provider, reader
from tracelet_otel import semconv
from tracelet_otel.exporters import registry
from tracelet_otel.exporters.delivery import Delivery
from tracelet_otel._support.environment import set_environment_defaults
from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.recorder import Recorder, Row
from tracelet_otel.protocol.encode import encode
from tracelet_otel.settings import load
from tracelet_otel.testing import ListQueue

set_environment_defaults(registry.delivering_environment()[0])
backend = {"M": "mlflow", "W": "wandb", "C": "clearml"}[order["tracker"][0]]
url = order["server"] if "server" in order["tracker"] else None
# The settings of a relay: there every client is at home.
settings = registry.absolute(load({"backend": backend, "backend_url": url}, {"relay": True}))
kept = KeepingExporter()
collecting = reader(kept)
resource = {semconv.RUN_ID: "a" * 32, semconv.RUN_NAME: "bench", semconv.PROJECT_NAME: "bench"}
recorder = Recorder(provider(collecting, **resource), Guard(), 60)
for first in range(0, order["rows"], 500):
    for step in range(first, min(first + 500, order["rows"])):
        values = {f"metric {name}": name * 0.1 + step for name in range(order["metrics"])}
        recorder.record(Row(time.time_ns(), values, step, semconv.AXIS_TRAINER, "fit", 0))
    collecting.collect()
bodies = [encode(data) for data in kept.exports]
total = order["rows"] * order["metrics"]
stopwatch = Stopwatch()
stopwatch.measure_named(order["parts"])
"""

EXPORTER = f"""{_RECORDED}
queue = ListQueue()
delivery = Delivery(registry.tracker(backend, settings), Guard(), queue)
delivery.open(resource)
delivery.tell(None)
stopwatch.start()
for body in bodies:
    queue.put(throughput.readings_of(body))
    delivery.wake()
assert delivery.wait(120)
if backend == "wandb":
    delivery.close(120)  # as its own client is timed: until its file is whole
took_s = stopwatch.stop()
assert delivery.account.delivered == total, delivery.account
print("\\n" + json.dumps({{"exporter": total / took_s, **stopwatch.us_each(order["rows"])}}))
os._exit(0)
"""

READY = f"""{_RECORDED}
from tracelet_otel.exporters.wandb.mapping import column_names
from tracelet_otel.exporters.wandb.rows import RowBuilder
from tracelet_otel.protocol.run_identity import run_identity

rows = RowBuilder(column_names()).made_of([one for body in bodies for one in throughput.readings_of(body)])
tracker = registry.tracker(backend, settings)
tracker.open(run_identity(resource))
run = tracker._run
stopwatch.start()
for row in rows:
    run.log(row)
run.finish()
took_s = stopwatch.stop()
print("\\n" + json.dumps({{"rows ready": total / took_s, **stopwatch.us_each(order["rows"])}}))
os._exit(0)
"""
"""Of W&B only."""

THEIRS = """
import json, os, sys, time
order = json.loads(sys.argv[1])
os.chdir(order["home"])
from benchmarks.stopwatch import Stopwatch
stopwatch = Stopwatch()
rows, names = order["rows"], [f"metric {name}" for name in range(order["metrics"])]
tracker = order["tracker"]
if tracker.startswith("MLflow"):
    from mlflow import MlflowClient
    from mlflow.entities import Metric
    client = MlflowClient(order["server"] if "server" in tracker else "sqlite:///mlflow.db")
    run_id = client.create_run("0").info.run_id
    now = int(time.time() * 1000)
    points = [(name, number * 0.1 + row, now + row, row) for row in range(rows) for number, name in enumerate(names)]
    stopwatch.start()
    for start in range(0, len(points), 1000):
        client.log_batch(run_id, metrics=[Metric(*point) for point in points[start:start + 1000]], synchronous=True)
    took_s = stopwatch.stop()
elif tracker.startswith("W&B"):
    import wandb
    run = wandb.init(mode="offline", settings=wandb.Settings(console="off", x_disable_stats=True, silent=True))
    values = [{name: number * 0.1 + row for number, name in enumerate(names)} for row in range(rows)]
    stopwatch.measure_named(order["parts"])
    stopwatch.start()
    for step, row in enumerate(values):
        run.log({"trainer/global_step": step, **row})  # as WandbLogger has it
    run.finish()
    took_s = stopwatch.stop()
else:
    from clearml import Task
    Task.set_offline(True)
    Task.set_random_seed(None)
    task = Task.init("bench", "bench", auto_connect_frameworks=False, auto_resource_monitoring=False,
                     auto_connect_streams=False, auto_connect_arg_parser=False)
    logger = task.get_logger()
    stopwatch.start()
    for row in range(rows):
        for number, name in enumerate(names):
            logger.report_scalar(name, name, number * 0.1 + row, row)
    task.close()
    took_s = stopwatch.stop()
print("\\n" + json.dumps({"their client": rows * len(names) / took_s, **stopwatch.us_each(rows)}))
"""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is logged."""

    rows: int = 5000
    repetitions: int = 3
    trackers: Sequence[str] = TRACKERS


SMALLEST = Size(rows=20, repetitions=1, trackers=TRACKERS[1:])


def readings_of(body: bytes) -> list[Reading]:
    """What a relay takes out of a request for a tracker."""
    return [reading for batch in decode(parse(body).resource_metrics) for reading in batch.readings]


def rates(
    script: str,
    tracker: str,
    rows: int,
    parts: Sequence[tuple[str, str, str]] = (),
    server: str = "",
    database: Path | None = None,
) -> dict[str, float]:
    """Readings a second, by what was timed.

    Args:
        script: one of those above.
        tracker: one of `TRACKERS`.
        rows: how many.
        parts: functions of which microseconds of processor time a row are told, too: see `Stopwatch.measure_named`.
            With these, it is told how long a row takes all threads of the process, and how long it takes.
        server: address of the MLflow server.
        database: an empty one of MLflow's, of which a copy is used; only "MLflow, SQLite" needs it.
    """
    with tempfile.TemporaryDirectory() as home:
        if database is not None:
            shutil.copy(database, f"{home}/mlflow.db")
        order = {"tracker": tracker, "rows": rows, "metrics": METRICS, "server": server, "parts": parts}
        return figures(["-c", script], order, home, WANDB_MODE="offline")


def main(size: Size, results: Results) -> None:
    """Run it, print the table, and leave figures and a plot."""
    found: dict[str, dict[str, list[float]]] = {tracker: {} for tracker in size.trackers}
    with tempfile.TemporaryDirectory() as home, mlflow_server(Path(home)) as server:
        mlflow = {"server": server, "database": mlflow_database(Path(home))}
        for _ in range(size.repetitions):
            for tracker in size.trackers:
                for script in (THEIRS, *((READY,) if tracker.startswith("W&B") else ()), EXPORTER, OURS):
                    for what, rate in rates(script, tracker, size.rows, **mlflow).items():
                        found[tracker].setdefault(what, []).append(rate)
    measured: dict[str, Any] = {
        tracker: {"median": {what: statistics.median(rate) for what, rate in of_tracker.items()}, "all": of_tracker}
        for tracker, of_tracker in found.items()
    }
    plotted = {
        f"{tracker}: {what}": found_one["median"][what]
        for tracker, found_one in measured.items()
        for what in ("their client", "rows ready", "exporter", "ours")
        if what in found_one["median"]
    }
    results.bars("throughput", f"Readings to committed, {METRICS} a row", "readings a second", plotted)
    how = {"rows": size.rows, "metrics": METRICS, "repetitions": size.repetitions}
    results.write("throughput", {**how, "results": measured})
    show(results, "throughput")


if __name__ == "__main__":
    run(main, Size(), SMALLEST)
