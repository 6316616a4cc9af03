"""Which metrics there are: names, units, kinds, attributes and values."""

from __future__ import annotations

import pytest
from opentelemetry.semconv._incubating.attributes import hw_attributes as hw
from opentelemetry.semconv._incubating.attributes import network_attributes as network
from opentelemetry.semconv._incubating.metrics import hw_metrics
from opentelemetry.semconv.attributes import error_attributes as error

from tests.gpu.stand_in import DRIVER, GIB, NOT_SUPPORTED, machine, mig_uuid, uuid, with_migs

REASONS = [
    "gpu_idle",
    "applications_clocks_setting",
    "sw_power_cap",
    "hw_slowdown",
    "sync_boost",
    "sw_thermal_slowdown",
    "hw_thermal_slowdown",
    "hw_power_brake_slowdown",
    "display_clock_setting",
]


def table(index: int) -> list[tuple[str, str, str, list[tuple[dict[str, str], float]]]]:
    """Every metric of a GPU of `machine`: name, kind, unit, and each point's own attributes and value."""
    tasks = hw.HwGpuTaskValues
    states = hw.HwStateValues
    directions = network.NetworkIoDirectionValues
    return [
        (
            hw_metrics.HW_GPU_UTILIZATION,
            "gauge",
            "1",
            [
                ({hw.HW_GPU_TASK: tasks.GENERAL.value}, (40 + index) / 100),
                ({hw.HW_GPU_TASK: tasks.ENCODER.value}, (20 + index) / 100),
                ({hw.HW_GPU_TASK: tasks.DECODER.value}, (10 + index) / 100),
            ],
        ),
        (hw_metrics.HW_GPU_MEMORY_USAGE, "up-down counter", "By", [({}, (30 + index) * GIB)]),
        (hw_metrics.HW_GPU_MEMORY_LIMIT, "up-down counter", "By", [({}, 80 * GIB)]),
        (hw_metrics.HW_GPU_MEMORY_UTILIZATION, "gauge", "1", [({}, (30 + index) / 80)]),
        (hw_metrics.HW_POWER, "gauge", "W", [({}, 350.5 + index / 1000)]),
        (hw_metrics.HW_ENERGY, "counter", "J", [({}, 7_000.25 + index / 1000)]),
        (hw_metrics.HW_TEMPERATURE, "gauge", "Cel", [({}, 50 + index)]),
        (hw_metrics.HW_FAN_SPEED_RATIO, "gauge", "1", [({}, (60 + index) / 100)]),
        (
            hw_metrics.HW_ERRORS,
            "counter",
            "{error}",
            [({error.ERROR_TYPE: "corrected"}, 3 + index), ({error.ERROR_TYPE: "uncorrected"}, 0)],
        ),
        (
            hw_metrics.HW_STATUS,
            "up-down counter",
            "1",
            [
                ({hw.HW_STATE: states.OK.value}, 1),
                ({hw.HW_STATE: states.DEGRADED.value}, 0),
                ({hw.HW_STATE: states.FAILED.value}, 0),
            ],
        ),
        (
            "tracelet.gpu.clock.frequency",
            "gauge",
            "Hz",
            [
                ({"tracelet.gpu.clock": "sm"}, (1_980 - index) * 1_000_000),
                ({"tracelet.gpu.clock": "memory"}, 2_619_000_000),
            ],
        ),
        (
            "tracelet.gpu.throttle",
            "gauge",
            "1",
            [({"tracelet.gpu.throttle.reason": reason}, int(reason == "sw_power_cap")) for reason in REASONS],
        ),
        (
            "tracelet.gpu.pcie.throughput",
            "gauge",
            "By/s",
            [
                ({network.NETWORK_IO_DIRECTION: directions.RECEIVE.value}, (1_500 + index) * 1000),
                ({network.NETWORK_IO_DIRECTION: directions.TRANSMIT.value}, (700 + index) * 1000),
            ],
        ),
        ("tracelet.gpu.process.memory.usage", "up-down counter", "By", [({}, (2 + index) * GIB)]),
    ]


def common(index: int) -> dict[str, str | int]:
    name = "NVIDIA H100 80GB HBM3"
    return {
        hw.HW_ID: uuid(index),
        hw.HW_NAME: name,
        hw.HW_TYPE: hw.HwTypeValues.GPU.value,
        hw.HW_MODEL: name,
        hw.HW_VENDOR: "NVIDIA",
        hw.HW_DRIVER_VERSION: DRIVER,
        "tracelet.gpu.index": index,
    }


@pytest.mark.parametrize("gpus", [1, 8])
def test_every_metric_of_every_gpu(nvml, observe, gpus):
    nvml.plays(machine(gpus))
    metrics = observe(nvml.environment)("collect")
    assert {metric["scope"] for metric in metrics} == {"tracelet_otel.gpu"}
    found = [(metric["name"], metric["kind"], metric["unit"]) for metric in metrics]
    assert found == [(name, kind, unit) for name, kind, unit, _points in table(0)]
    for number, metric in enumerate(metrics):
        expected = [
            {"attributes": {**common(index), **own}, "value": pytest.approx(value)}
            for index in range(gpus)
            for own, value in table(index)[number][3]
        ]
        assert metric["points"] == expected


def test_a_machine_without_gpus_has_no_metrics(nvml, observe):
    nvml.plays(machine(0))
    child = observe(nvml.environment)
    assert child("collect") == []
    assert (child("counts"), child.log) == ({}, "")


def test_values_are_those_of_the_moment(nvml, observe):
    nvml.plays(machine(1))
    child = observe(nvml.environment)
    child.series()
    nvml.plays(machine(1, **{"0.temperature": 71, "0.throttle": 0x41}))
    found = child.series()
    assert found["hw.temperature", uuid(0), None] == 71
    applying = {own for (name, _, own), value in found.items() if name == "tracelet.gpu.throttle" and value}
    assert applying == {"gpu_idle", "hw_thermal_slowdown"}


def test_a_reason_that_a_device_does_not_know_is_absent(nvml, observe):
    nvml.plays(machine(1, **{"0.throttle_known": 0x5}))
    found = observe(nvml.environment).series()
    reasons = {own: value for (name, _, own), value in found.items() if name == "tracelet.gpu.throttle"}
    assert reasons == {"gpu_idle": 0, "sw_power_cap": 1}


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "ok"),
        # Clocks that merely change look like a slowdown, says NVML's documentation.
        ({"0.throttle": 0x8 | 0x20}, "ok"),
        ({"0.throttle": 0x40}, "degraded"),
        ({"0.throttle": 0x80}, "degraded"),
        ({"0.uncorrected": 1}, "degraded"),
        ({"0.uncorrected.error": NOT_SUPPORTED, "0.throttle.error": NOT_SUPPORTED}, "ok"),
        ({"0.uncorrected.error": NOT_SUPPORTED, "0.throttle": 0x80}, "degraded"),
    ],
)
def test_status(nvml, observe, changes, state):
    nvml.plays(machine(1, **changes))
    found = observe(nvml.environment).series()
    states = {own: value for (name, _, own), value in found.items() if name == hw_metrics.HW_STATUS}
    assert states == {one: int(one == state) for one in ("ok", "degraded", "failed")}


@pytest.mark.parametrize(
    ("processes", "expected"),
    [
        ("1=5", None),
        ("self=-", None),
        ("1=5,self=7,2=9", 7),
        # Once for each MIG device.
        ("self=7,self=-,self=3", 10),
    ],
)
def test_memory_of_this_process(nvml, observe, processes, expected):
    nvml.plays(machine(1, **{"0.processes": processes}))
    found = observe(nvml.environment).series()
    assert found.get(("tracelet.gpu.process.memory.usage", uuid(0), None)) == expected


def test_a_mig_device_has_what_mig_tells(nvml, observe):
    nvml.plays(with_migs(machine(2), 1, 2))
    child = observe({**nvml.environment, "CUDA_VISIBLE_DEVICES": mig_uuid(1, 1)})
    metrics = child("collect")
    assert {point["attributes"]["tracelet.gpu.index"] for metric in metrics for point in metric["points"]} == {1}
    assert metrics[0]["points"][0]["attributes"][hw.HW_NAME] == "NVIDIA H100 80GB HBM3 MIG 1g.10gb"
    mig = mig_uuid(1, 1)
    assert child.series() == {
        (hw_metrics.HW_GPU_MEMORY_USAGE, mig, None): 2 * GIB,
        (hw_metrics.HW_GPU_MEMORY_LIMIT, mig, None): 10 * GIB,
        (hw_metrics.HW_GPU_MEMORY_UTILIZATION, mig, None): 0.2,
        (hw_metrics.HW_STATUS, mig, "ok"): 1,
        (hw_metrics.HW_STATUS, mig, "degraded"): 0,
        (hw_metrics.HW_STATUS, mig, "failed"): 0,
    }
    assert child("counts") == {}
