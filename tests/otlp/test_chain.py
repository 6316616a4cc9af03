"""Two ranks, each through a collector of its own, a gateway, and a relay started by hand: one run, as without them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.support.collector import Collector
from tests.support.mlflow_store import stored_run, stored_runs
from tests.support.sidecar import TOKEN, Relay
from tests.support.waiting import wait_until

TRAIN = """
import warnings; warnings.simplefilter("ignore")
import json, os
import lightning.pytorch as pl
import torch
import tracelet_otel as tracelet

ENDPOINTS = json.loads(os.environ.get("ENDPOINTS", "[]"))
RANK = int(os.environ.get("LOCAL_RANK", "0"))
if ENDPOINTS:
    os.environ[os.environ["VARIABLE"]] = ENDPOINTS[RANK]

class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.save_hyperparameters({"lr": 0.05})
        self.layer = torch.nn.Linear(4, 1)
    def training_step(self, batch, batch_idx):
        loss = self.layer(batch[0]).square().mean()
        self.log("loss", loss)
        self.log("most", 10.0 * self.global_rank + batch_idx, reduce_fx="max")
        return loss
    def validation_step(self, batch, batch_idx):
        self.log("val", self.layer(batch[0]).abs().mean())
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.05)

pl.seed_everything(3)
data = torch.utils.data.TensorDataset(torch.randn(80, 4))
loader = lambda: torch.utils.data.DataLoader(data, batch_size=4)
with tracelet.start_logging("chain", config={"export_interval": 0.2}) as run:
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", devices=2, strategy="ddp", logger=False, log_every_n_steps=1,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )
    trainer.fit(Net(), loader(), loader())
print(json.dumps([RANK, run.errors]))
"""


@pytest.fixture
def relay(tmp_path, database):
    relay = Relay(database, tmp_path)
    relay.start()
    yield relay
    relay.end()


@pytest.fixture
def collectors(tmp_path, relay):
    """One for each rank, behind which there is the gateway."""
    started = []

    def start(name, forward_to, **options):
        (tmp_path / name).mkdir()
        started.append(Collector(tmp_path / name, forward_to, batch_ms=50, **options))
        started[-1].start()
        return started[-1]

    gateway = start(
        "gateway", f"http://127.0.0.1:{relay.port}", headers={"Authorization": f"Bearer {TOKEN}"}, memory_limit_mib=200
    )
    yield [start(name, gateway.endpoint("http")) for name in ("one", "two")]
    for one in reversed(started):
        one.stop()


@pytest.fixture
def without_collectors(tmp_path, migrated_database):
    home = tmp_path / "plain"
    home.mkdir()
    (home / "mlflow.db").write_bytes(migrated_database.read_bytes())
    (home / "train.py").write_text(TRAIN)
    subprocess.run([sys.executable, "train.py"], cwd=home, env=dict(os.environ), check=True)
    return stored_run(home / "mlflow.db")


def ended(database):
    return all(run.status != "RUNNING" for run in stored_runs(database)) and bool(stored_runs(database))


@pytest.mark.slow
@pytest.mark.parametrize(
    "way",
    [
        {"TRACELET_BACKEND": "otlp", "VARIABLE": "OTEL_EXPORTER_OTLP_ENDPOINT"},
        # The relay's own sender, through the same collectors; each rank is told of the run.
        {"VARIABLE": "TRACELET_RELAY_ENDPOINT", "TRACELET_RELAY_TOKEN": TOKEN, "TRACELET_RUN_ID": "run-of-both"},
    ],
    ids=["backend otlp", "a collector as relay"],
)
def test_one_run_of_both_ranks(tmp_path, database, relay, collectors, without_collectors, way):
    (tmp_path / "train.py").write_text(TRAIN)
    endpoints = json.dumps([one.endpoint("http" if "RELAY" in way["VARIABLE"] else "grpc") for one in collectors])
    child = subprocess.run(
        [sys.executable, "train.py"],
        cwd=tmp_path,
        env={**os.environ, **way, "ENDPOINTS": endpoints},
        capture_output=True,
        text=True,
        check=True,
    )
    assert sorted(line for line in child.stdout.splitlines() if line.startswith("[")) == ["[0, {}]", "[1, {}]"]
    wait_until(lambda: ended(database), 60, "the end of the run")
    found = stored_run(database)
    assert (found.name, found.status) == ("chain", "FINISHED")
    assert found.multiset == without_collectors.multiset
    assert found.params == without_collectors.params
    assert {step for name, step, _ in found.multiset if name == "most"} == set(range(20))
