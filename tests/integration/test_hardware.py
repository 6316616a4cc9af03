"""GPU and host of one training, where users of each tracker look for them."""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict

import pytest

import tracelet_otel as tracelet
from tests.gpu.stand_in import StandIn, build, machine
from tests.support.clearml_files import session
from tests.support.mlflow_store import stored_run
from tests.support.waiting import wait_until
from tests.support.wandb_files import offline_files, offline_run

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
    "disk_usage_percentage",
    "disk_usage_megabytes",
    "disk_available_megabytes",
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


def test_each_tracker_has_them_at_the_step_of_the_moment(run, tmp_path, database, library):
    nvml = StandIn(library, tmp_path / "nvml.txt")
    nvml.plays(machine(2))
    child = run("beside_gpus.py", nvml.script, **nvml.environment, WANDB_MODE="offline")
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


@pytest.mark.cold
def test_it_can_be_turned_off(run, tmp_path, database, library):
    nvml = StandIn(library, tmp_path / "nvml.txt")
    nvml.plays(machine(1))
    child = run("without_hardware.py", "no", **nvml.environment)
    assert child.stdout.splitlines()[0] == "[] False", child.stderr
    assert [point[:3] for point in stored_run(database).points] == [("loss", 1, 0.5)]


def test_what_is_missing_is_said_where_somebody_has_asked_for_it(monkeypatch, database, caplog):
    for module in ("pynvml", "opentelemetry.instrumentation.system_metrics"):
        monkeypatch.setitem(sys.modules, module, None)
    tracelet.start_logging(config={"track_system": True}).stop()
    assert "pip install 'tracelet-otel[gpu,system]'" in caplog.text


def test_a_run_without_a_training_has_them_too(run, tmp_path, database, library):
    nvml = StandIn(library, tmp_path / "nvml.txt")
    nvml.plays(machine(1))
    child = run("without_hardware.py", "yes", **nvml.environment)
    assert child.returncode == 0, child.stderr
    assert child.stdout.splitlines()[0] != "[] False"
    points = stored_run(database).points
    # Of a time as short as this one, no share is known.
    shares = {"system/cpu_utilization_percentage", "system/process_cpu_utilization_percentage"}
    expected = {name for name in NAMES if "gpu_1" not in name}
    assert {name for name, *_ in points if name.startswith("system/")} | shares == expected
    assert {step for name, step, *_ in points if name.startswith("system/")} == {0}
