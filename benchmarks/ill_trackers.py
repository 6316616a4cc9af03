"""Step times of a training before and after its tracker falls ill.

    python -m benchmarks.ill_trackers

Each training does half of its steps with a tracker that is well; then a server in front of MLflow
drops connections, hangs, or answers 500 or 429, and the other half follows. "well" changes nothing
at half time and shows what differs anyway. Durations are from the start of a batch to that of the next.
"""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.child import environment
from benchmarks.options import run
from benchmarks.report import show
from benchmarks.results import Results
from benchmarks.servers import mlflow_server
from tests.support.door import ILLS, Door
from tests.support.relays import relays
from tests.support.waiting import wait_until

TRAINING = """
import json, sys, time
order = json.loads(sys.argv[1])
warm_up, steps = order["warm_up"], order["steps"]
import lightning.pytorch as pl, torch
import tracelet_otel

class Model(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
    def training_step(self, batch, batch_idx):
        loss = self.net(batch).square().mean()
        self.log_dict({"train/loss": loss, "train/a": loss * 2, "train/b": loss * 3, "train/c": loss * 4})
        return loss
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)

class Clock(pl.Callback):
    def __init__(self):
        self.times = []
    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.times.append(time.perf_counter())
        if batch_idx == warm_up + steps // 2:
            print("half", flush=True)

torch.set_num_threads(1)
clock = Clock()
if order["server"]:
    config = {"stop_timeout": 5, "relay_patience": 1}
    tracelet_otel.start_logging("benchmark", backend_url=order["server"], config=config)
trainer = pl.Trainer(
    max_steps=warm_up + steps, callbacks=[clock], logger=False, enable_checkpointing=False, log_every_n_steps=1,
    enable_progress_bar=False, enable_model_summary=False, accelerator="cpu",
)
trainer.fit(Model(), torch.utils.data.DataLoader(torch.randn((warm_up + steps) * 8, 64), batch_size=8))
began = time.perf_counter()
tracelet_otel.stop_logging()
print(json.dumps({"times": clock.times, "stop_s": time.perf_counter() - began}))
"""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is trained."""

    warm_up: int = 500
    """Steps that are not measured."""
    steps: int = 6_000
    trackers: Sequence[str] = ("none", "well", *ILLS)


def train(size: Size, door: Door, tracker: str) -> dict[str, Any]:
    """Milliseconds of the steps of both halves, and seconds of the stop.

    Args:
        size: how many steps.
        door: of the tracker.
        tracker: what it has from half time on, "well" for nothing; "none" for a training that is not recorded.
    """
    with tempfile.TemporaryDirectory() as home:
        order = {"warm_up": size.warm_up, "steps": size.steps, "server": "" if tracker == "none" else door.uri}
        errors = Path(home, "stderr")
        child = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", TRAINING, json.dumps(order)],
            cwd=home, env=environment(TRACELET_JOURNAL_DIR=f"{home}/journals"), stdout=subprocess.PIPE,
            stderr=errors.open("w"), text=True,
        )  # fmt: skip
        for line in child.stdout:
            if line == "half\n" and tracker in ILLS:
                door.ill = tracker
            elif line.startswith("{"):
                found = json.loads(line)
        if child.wait():
            sys.exit(errors.read_text())
        door.ill = None
        door.well_again.set()
        door.well_again.clear()
        wait_until(lambda: not relays(Path(home).resolve()), 60, "the end of the relay's patience")
    times = found["times"][size.warm_up :]
    steps = [(later - earlier) * 1e3 for earlier, later in itertools.pairwise(times)]
    halves = {"before_ms": steps[: size.steps // 2], "after_ms": steps[size.steps // 2 :]}
    return {**{name: quantiles(half) for name, half in halves.items()}, "stop_s": found["stop_s"]}


def quantiles(found: list[float]) -> dict[str, float]:
    """Median and 99th percentile."""
    return {"p50": statistics.median(found), "p99": statistics.quantiles(found, n=100)[98]}


def main(size: Size, results: Results) -> None:
    """Run it, print the table, and leave figures."""
    with tempfile.TemporaryDirectory() as home, mlflow_server(Path(home)) as server:
        door = Door(server)
        measured = {tracker: train(size, door, tracker) for tracker in size.trackers}
        door.stop()
    results.write("ill_trackers", {"steps": size.steps, "results": measured})
    show(results, "ill trackers")


if __name__ == "__main__":
    run(main, Size(), smallest=Size(warm_up=2, steps=20, trackers=("none", "down")))
