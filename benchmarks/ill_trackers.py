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
import time
from pathlib import Path

from tests.support.door import ILLS, Door
from tests.support.waiting import answers, free_port, wait_until

STEPS = 6_000
WARM_UP = 500
TRAINING = f"""
import json, sys, time
import lightning.pytorch as pl, torch
import tracelet_otel

class Model(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
    def training_step(self, batch, batch_idx):
        loss = self.net(batch).square().mean()
        self.log_dict({{"train/loss": loss, "train/a": loss * 2, "train/b": loss * 3, "train/c": loss * 4}})
        return loss
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)

class Clock(pl.Callback):
    def __init__(self):
        self.times = []
    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.times.append(time.perf_counter())
        if batch_idx == {WARM_UP + STEPS // 2}:
            print("half", flush=True)

torch.set_num_threads(1)
clock = Clock()
if sys.argv[1] != "none":
    tracelet_otel.start_logging("benchmark", backend_url=sys.argv[1], config={{"stop_timeout": 5, "relay_patience": 1}})
trainer = pl.Trainer(
    max_steps={WARM_UP + STEPS}, callbacks=[clock], logger=False, enable_checkpointing=False, log_every_n_steps=1,
    enable_progress_bar=False, enable_model_summary=False, accelerator="cpu",
)
trainer.fit(Model(), torch.utils.data.DataLoader(torch.randn({WARM_UP + STEPS} * 8, 64), batch_size=8))
began = time.perf_counter()
tracelet_otel.stop_logging()
print(json.dumps({{"times": clock.times, "stop_s": time.perf_counter() - began}}))
"""


def train(uri: str, directory: str, ill: str | None, door: Door | None) -> tuple[list[float], list[float], float]:
    """Durations of the steps of both halves in milliseconds, and seconds of the stop."""
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", TRAINING, uri],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=(Path(directory) / "stderr").open("a"),
        text=True,
    )
    for line in child.stdout:
        if line == "half\n" and door is not None:
            door.ill = ill
        elif line.startswith("{"):
            result = json.loads(line)
    if child.wait():
        sys.exit((Path(directory) / "stderr").read_text())
    if door is not None:
        door.ill = None
        door.well_again.set()
        door.well_again.clear()
    times = result["times"][WARM_UP:]
    steps = [(later - earlier) * 1e3 for earlier, later in itertools.pairwise(times)]
    return steps[: STEPS // 2], steps[STEPS // 2 :], result["stop_s"]


def row(name: str, first: list[float], second: list[float], stop_s: float) -> None:
    """Print one training's figures."""
    figures = [
        f"{statistics.median(half):8.3f} {statistics.quantiles(half, n=100)[98]:8.3f}" for half in (first, second)
    ]
    print(f"{name:8} {figures[0]} {figures[1]} {stop_s:8.2f}", flush=True)


def main() -> None:
    """Print step times in milliseconds (median and 99th percentile of each half) and the stop in seconds."""
    with tempfile.TemporaryDirectory() as directory:
        port = free_port()
        command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{directory}/mlflow.db"]
        with (Path(directory) / "server").open("w") as log:
            server = subprocess.Popen(command, cwd=directory, stdout=log, stderr=log)
        try:
            wait_until(lambda: answers(f"http://127.0.0.1:{port}/health"), 90, "the server's start")
            door = Door(f"http://127.0.0.1:{port}")
            print(f"{'':8} {'before: p50':>8} {'p99':>5} {'after: p50':>11} {'p99':>6} {'stop [s]':>9}")
            row("none", *train("none", directory, None, None))
            for ill in (None, *ILLS):
                row(ill or "well", *train(door.uri, directory, ill, door))
                time.sleep(3)  # the relay's patience of this training ends
        finally:
            server.terminate()
            server.wait(30)


if __name__ == "__main__":
    main()
