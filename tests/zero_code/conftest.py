from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.collector import Collector
from tests.support.otlp_receiver import HttpReceiver
from tracelet_otel import semconv

ROOT = Path(__file__).parents[2]

TRAIN = """
import warnings; warnings.simplefilter("ignore")
import json, os
import lightning.pytorch as pl
import torch

class Recording(pl.loggers.Logger):
    name, version, rows = "recording", 0, []
    def log_metrics(self, metrics, step=None):
        self.rows.append([{name: float(value) for name, value in metrics.items()}, step])
    def log_hyperparams(self, *args, **kwargs):
        pass

class Net(pl.LightningModule):
    def __init__(self, width=4):
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(width, 1)
    def training_step(self, batch, batch_idx):
        loss = self.layer(batch[0]).square().mean()
        self.log("train/Loss of a batch", loss)
        self.log("rank", float(self.global_rank), sync_dist=SYNC)
        return loss
    def validation_step(self, batch, batch_idx):
        self.log("val/loss", self.layer(batch[0]).square().mean())
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.05)

SYNC = False
DEVICES = int(os.environ.get("DEVICES", "1"))
STRATEGY = os.environ.get("STRATEGY", "ddp" if DEVICES > 1 else "auto")
WORKERS = json.loads(os.environ.get("WORKERS", "{}"))

def main():
    pl.seed_everything(7)
    data = torch.randn(48, 4, generator=torch.Generator().manual_seed(0))
    loader = lambda: torch.utils.data.DataLoader(torch.utils.data.TensorDataset(data), batch_size=4, **WORKERS)
    logger = Recording()
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", devices=DEVICES, strategy=STRATEGY, logger=logger, log_every_n_steps=1,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )
    trainer.fit(Net(), loader(), loader())
    if trainer.is_global_zero:
        with open("rows.json", "w") as file:
            json.dump(logger.rows, file)

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def train(tmp_path) -> Path:
    """A training that has never heard of us; it writes the rows that its own logger got to `rows.json`."""
    path = tmp_path / "train.py"
    path.write_text(TRAIN)
    return path


@pytest.fixture
def instrumented(tmp_path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a script under `opentelemetry-instrument`, with `OTEL_METRICS_EXPORTER`."""

    def run(script: Path, exporters: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(script),
            cwd=tmp_path,
            env=surroundings(exporters, **environment),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    return run


def command(script: Path) -> list[str]:
    return [str(Path(sys.executable).with_name("opentelemetry-instrument")), sys.executable, str(script)]


def surroundings(exporters: str, **environment: str) -> dict[str, str]:
    return {
        **os.environ,
        "OTEL_METRICS_EXPORTER": exporters,
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_METRIC_EXPORT_INTERVAL": "500",
        **environment,
    }


@pytest.fixture
def backend():
    """What a collector forwards to."""
    receiver = HttpReceiver()
    yield receiver
    receiver.stop()


@pytest.fixture
def collector(tmp_path, backend):
    """The real collector in front of `backend`."""
    made = Collector(tmp_path, backend.endpoint)
    made.start()
    yield made
    made.stop()


def logged_rows(tmp_path) -> list:
    return json.loads((tmp_path / "rows.json").read_text())


def logged(tmp_path) -> Counter:
    """Name, step and value of all that the script's own logger got."""
    return Counter((name, step, value) for values, step in logged_rows(tmp_path) for name, value in values.items())


def last_logged(tmp_path) -> dict[str, float]:
    return {name: value for values, _ in logged_rows(tmp_path) for name, value in values.items()}


def arrived(backend) -> dict[tuple[str, int | None], float]:
    """The last value of each logged series: by exact name and rank."""
    found = {}
    for request in list(backend.requests):
        for resource in request.resource_metrics:
            own = {one.key: one.value.int_value for one in resource.resource.attributes if one.key == semconv.RANK}
            for scope in resource.scope_metrics:
                for metric in scope.metrics if scope.scope.name == semconv.SCOPE_LOGGED else ():
                    for point in metric.gauge.data_points:
                        told = {one.key: one.value for one in point.attributes}
                        rank = told[semconv.RANK].int_value if semconv.RANK in told else own.get(semconv.RANK)
                        found[told[semconv.METRIC_NAME].string_value, rank] = point.as_double
    return found


def run_ids(backend) -> set[str]:
    return {
        one.value.string_value
        for request in list(backend.requests)
        for resource in request.resource_metrics
        for one in resource.resource.attributes
        if one.key == semconv.RUN_ID
    }
