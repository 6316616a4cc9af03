"""GPU and host of one training, where users of each tracker look for them."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from tests.gpu.stand_in import StandIn, build, machine
from tests.support.clearml_files import session
from tests.support.mlflow_store import stored_run
from tests.support.waiting import wait_until
from tests.support.wandb_files import offline_files, offline_run

SCRIPT = """
import ctypes, json, sys, threading
import lightning.pytorch as pl
import torch
import tracelet_otel as tracelet
from tests.support.waiting import wait_until
from tests.gpu.stand_in import StandIn, machine
from tests.support.trainings import recording_logger
from pathlib import Path

nvml = StandIn(Path(), Path(sys.argv[1]))
count = ctypes.CDLL("libnvidia-ml.so.1").standInCalls
threads = set()


class Changing(pl.Callback):
    # A pass that begins after a change has the new values, and is exported before the one after the next begins.
    def on_train_batch_end(self, trainer, *_):
        step = trainer.global_step
        if step in (2, 4):
            nvml.plays(machine(2, **{"0.utilization": 10 * step}))
            seen = count(b"nvmlDeviceGetUtilizationRates")
            wait_until(lambda: count(b"nvmlDeviceGetUtilizationRates") >= seen + 6, 30, "three passes")


class Module(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch):
        loss = self.layer(batch[0]).square().mean()
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


logger = recording_logger(pl)
data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(8, 2)), batch_size=1)
config = {"track_system": True, "metrics_interval": 0.1, "export_interval": 0.1}
with tracelet.start_logging("all", "all of them", ["mlflow", "wandb", "clearml"], config=config) as run:
    trainer = pl.Trainer(
        max_epochs=1, logger=logger, log_every_n_steps=1, callbacks=[Changing()], accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
    )
    trainer.fit(Module(), data)
print(json.dumps({"id": run.id, "errors": run.errors, "rows": logger.rows}))
"""

ROOT = Path(__file__).parents[2]
OF_A_GPU = [
    "utilization_percentage",
    "encoder_utilization_percentage",
    "decoder_utilization_percentage",
    "memory_usage_megabytes",
    "memory_usage_percentage",
    "process_memory_usage_megabytes",
    "power_usage_watts",
    "energy_joules",
    "temperature_celsius",
    "fan_speed_percentage",
    "errors_corrected",
    "errors_uncorrected",
    "sm_clock_megahertz",
    "memory_clock_megahertz",
    "pcie_receive_megabytes_per_second",
    "pcie_transmit_megabytes_per_second",
]
OF_THE_HOST = [
    "cpu_utilization_percentage",
    "system_memory_usage_megabytes",
    "system_memory_usage_percentage",
    "network_receive_megabytes",
    "network_transmit_megabytes",
    "disk_read_megabytes",
    "disk_write_megabytes",
    "process_cpu_utilization_percentage",
    "process_memory_usage_megabytes",
    "process_threads",
]
NAMES = {f"system/gpu_{index}_{name}" for index in (0, 1) for name in OF_A_GPU} | {f"system/{n}" for n in OF_THE_HOST}
GIB_PER_MB = 1e6 / 2**30
OF_ITS_MONITOR = {
    "utilization_percentage": ("utilization", 1),
    "encoder_utilization_percentage": ("encoder_utilization", 1),
    "decoder_utilization_percentage": ("decoder_utilization", 1),
    "memory_usage_percentage": ("mem_usage", 1),
    "memory_usage_megabytes": ("mem_used_gb", GIB_PER_MB),
    "process_memory_usage_megabytes": ("process_memory_used_gb", GIB_PER_MB),
    "temperature_celsius": ("temperature", 1),
}
IN_CLEARML = {
    **{
        f"system/gpu_{i}_{name}": (":monitor:gpu", f"gpu_{i}_{theirs}", factor)
        for i in (0, 1)
        for name, (theirs, factor) in OF_ITS_MONITOR.items()
    },
    "system/cpu_utilization_percentage": (":monitor:machine", "cpu_usage", 1),
    "system/process_cpu_utilization_percentage": (":monitor:machine", "process_cpu_usage", 1),
    "system/system_memory_usage_megabytes": (":monitor:machine", "memory_used_gb", GIB_PER_MB),
    "system/system_memory_usage_percentage": (":monitor:machine", "memory_usage", 1),
    "system/process_memory_usage_megabytes": (":monitor:machine", "process_memory_used_gb", GIB_PER_MB),
}
"""What ClearML's own monitor has; of the rest the names are ours."""


def in_clearml(name):
    plain = name.removeprefix("system/")
    title = ":monitor:gpu" if plain.startswith("gpu_") else ":monitor:machine"
    return IN_CLEARML.get(name, (title, plain, 1))


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return build(tmp_path_factory.mktemp("nvml"))


def test_each_tracker_has_them_at_the_step_of_the_moment(python, tmp_path, database, library):
    nvml = StandIn(library, tmp_path / "nvml.txt")
    nvml.plays(machine(2))
    child = python(SCRIPT, str(nvml.script), **nvml.environment, WANDB_MODE="offline", PYTHONPATH=str(ROOT))
    assert child.returncode == 0, child.stderr
    said = json.loads(child.stdout.splitlines()[-1])
    assert said["errors"] == {}
    logged = Counter((name, step, value) for values, step in said["rows"] for name, value in values.items())
    assert logged, "the logger saw nothing: the test would compare nothing"

    points = stored_run(database).points
    assert Counter(point[:3] for point in points if not point[0].startswith("system/")) == logged
    measured = {(name, time_ms): (step, value) for name, step, value, time_ms in points if name.startswith("system/")}
    assert {name for name, _ in measured} == NAMES
    by_name = defaultdict(list)
    for (name, _), at in sorted(measured.items(), key=lambda item: item[0][1]):
        by_name[name].append(at)
    for steps in ([step for step, _ in found] for found in by_name.values()):
        assert steps == sorted(steps)
        assert steps[-1] == 8
    # At the start, whatever the scripted values of later, in mid-run, and at the end.
    used = by_name["system/gpu_0_utilization_percentage"]
    assert used[0] == (0, 40.0)
    # Lightning logs what a batch gave one step before that of its optimizer.
    assert {(1, 20.0), (3, 40.0)} <= set(used)
    assert used[-1] == (8, 40.0)
    assert {value for _, value in by_name["system/gpu_1_utilization_percentage"]} == {41.0}
    assert {value for _, value in by_name["system/gpu_1_power_usage_watts"]} == {350.501}

    (path,) = {path.resolve() for path in offline_files(tmp_path / "wandb", said["id"])}
    wait_until(lambda: offline_run(path).exit_code is not None, 10, "the end of the file")
    rows = offline_run(path).rows
    found = {
        (name, int(row["_timestamp"] * 1000 + 1e-4)): (row["trainer/global_step"], value)
        for row in rows
        for name, value in row.items()
        if name.startswith("system/")
    }
    assert found == measured

    task = session(tmp_path / "clearml" / "offline" / f"offline-{said['id']}.zip")
    last = {}
    for (name, time_ms), (step, value) in sorted(measured.items(), key=lambda item: item[0][1]):
        title, series, factor = in_clearml(name)
        last[title, series, step] = pytest.approx(value * factor), time_ms
    assert {place: value for place, value in task.points.items() if place[0].startswith(":monitor")} == last


def test_it_can_be_turned_off(python, tmp_path, database, library):
    nvml = StandIn(library, tmp_path / "nvml.txt")
    nvml.plays(machine(1))
    script = """
import sys, threading
import tracelet_otel as tracelet
with tracelet.start_logging("off", backend="mlflow", config={"track_system": False}) as run:
    run.log_metric("loss", 0.5, 1)
    print([one.name for one in threading.enumerate() if "hardware" in one.name], "pynvml" in sys.modules)
"""
    child = python(script, **nvml.environment)
    assert child.stdout.splitlines()[0] == "[] False", child.stderr
    assert [point[:3] for point in stored_run(database).points] == [("loss", 1, 0.5)]


def test_a_run_without_a_training_has_them_too(python, tmp_path, database, library):
    nvml = StandIn(library, tmp_path / "nvml.txt")
    nvml.plays(machine(1))
    script = """
import tracelet_otel as tracelet
with tracelet.start_logging("short", backend="mlflow", config={"track_system": True}) as run:
    run.log_metric("loss", 0.5, 1)
"""
    child = python(script, **nvml.environment)
    assert child.returncode == 0, child.stderr
    points = stored_run(database).points
    # Of a time as short as this one, no share is known.
    shares = {"system/cpu_utilization_percentage", "system/process_cpu_utilization_percentage"}
    expected = {name for name in NAMES if "gpu_1" not in name}
    assert {name for name, *_ in points if name.startswith("system/")} | shares == expected
    assert {step for name, step, *_ in points if name.startswith("system/")} == {0}
