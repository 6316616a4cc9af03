"""How long `start_logging` takes, beside the trackers' own import and creation of a run.

    python -m benchmarks.start

Each in a process of its own, which has imported Lightning, as a training has. Interleaved repetitions; medians with
the smallest and the largest. Where a start is prepared, `prepare_logging` comes before the import of Lightning.
"""

from __future__ import annotations

import compileall
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.child import ROOT, figures
from benchmarks.options import run
from benchmarks.report import show
from benchmarks.results import Results, spread
from benchmarks.servers import mlflow_database, mlflow_server

TRACKERS = ("MLflow, SQLite", "MLflow, new database", "MLflow, server", "W&B, offline", "ClearML, offline", "all three")

_BEGIN = """
import json, os, psutil, sys, time
order = json.loads(sys.argv[1])
os.chdir(order["home"])
tracker = order["tracker"]

def processor_s():
    # That of this process and of those that it has started.
    own = psutil.Process()
    return sum(sum(one.cpu_times()[:2]) for one in (own, *own.children(recursive=True)))
"""

_OURS = """
names = {"M": "mlflow", "W": "wandb", "C": "clearml", "a": "mlflow,wandb,clearml"}
backend, url = names[tracker[0]], order["server"] if "server" in tracker else None
"""

_START = """
used_s, began_s = processor_s(), time.perf_counter()
import tracelet_otel as tracelet
run = tracelet.start_logging("bench", backend=backend, backend_url=url)
took_s, used_s = time.perf_counter() - began_s, processor_s() - used_s
run.stop()
print("\\n" + json.dumps({whose: took_s, f"{whose}, processor": used_s}), flush=True)
os._exit(0)
"""

OURS = f"""{_BEGIN}{_OURS}
import lightning.pytorch
whose = "ours"
{_START}"""

PREPARED = f"""{_BEGIN}{_OURS}
import tracelet_otel
tracelet_otel.prepare_logging(backend, url)
import lightning.pytorch
whose = "prepared"
{_START}"""

THEIRS = f"""{_BEGIN}
import lightning.pytorch

def mlflow(url):
    from mlflow import MlflowClient
    client = MlflowClient(url)
    client.create_run(client.create_experiment("bench " + str(time.time_ns())))

def wandb():
    import wandb
    wandb.init(mode="offline", settings=wandb.Settings(silent=True))

def clearml():
    from clearml import Task
    Task.set_offline(True)
    Task.init("bench", "bench", auto_connect_frameworks=False)

used_s, began_s = processor_s(), time.perf_counter()
if tracker[0] in "Ma":
    mlflow(order["server"] if "server" in tracker else "sqlite:///mlflow.db")
if tracker[0] in "Wa":
    wandb()
if tracker[0] in "Ca":
    clearml()
took_s, used_s = time.perf_counter() - began_s, processor_s() - used_s
print("\\n" + json.dumps({{"their client": took_s, "their client, processor": used_s}}), flush=True)
# Processes of clients, of which ClearML's would go on for half a minute.
for one in psutil.Process().children(recursive=True):
    one.kill()
os._exit(0)
"""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is started."""

    repetitions: int = 7
    trackers: Sequence[str] = TRACKERS


def seconds(script: str, tracker: str, server: str, database: Path) -> dict[str, float]:
    """What it took, by whose it was.

    Args:
        script: one of those above.
        tracker: one of `TRACKERS`.
        server: address of the MLflow server.
        database: an empty one of MLflow's; a copy is used, where none is to be made.
    """
    with tempfile.TemporaryDirectory() as home:
        if "new" not in tracker:
            shutil.copy(database, f"{home}/mlflow.db")
        return figures(["-c", script], {"tracker": tracker, "server": server}, home, WANDB_MODE="offline")


def main(size: Size, results: Results) -> None:
    """Run it, print the table, and leave figures and a plot."""
    # As an installed package is.
    compileall.compile_dir(ROOT / "src", quiet=1)
    found: dict[str, dict[str, list[float]]] = {tracker: {} for tracker in size.trackers}
    with tempfile.TemporaryDirectory() as home, mlflow_server(Path(home)) as server:
        database = mlflow_database(Path(home))
        for _ in range(size.repetitions):
            for tracker in size.trackers:
                for script in (THEIRS, OURS, PREPARED):
                    for whose, took_s in seconds(script, tracker, server, database).items():
                        found[tracker].setdefault(whose, []).append(took_s)
    measured = {
        tracker: {whose: spread(took) for whose, took in of_tracker.items()} for tracker, of_tracker in found.items()
    }
    plotted = {
        f"{tracker}: {whose}": of["median"]
        for tracker, of_tracker in measured.items()
        for whose, of in of_tracker.items()
        if "processor" not in whose
    }
    results.bars("start", "From the import to a run in the tracker", "seconds", plotted)
    results.write("start", {"repetitions": size.repetitions, "results": measured})
    show(results, "start")


if __name__ == "__main__":
    run(main, Size(), smallest=Size(repetitions=1, trackers=("MLflow, server", "all three")))
