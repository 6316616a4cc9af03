"""What a device or driver does not tell is absent, says so once where it should, and takes nothing with it."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.gpu import stand_in
from tests.gpu.stand_in import GIB, machine, uuid
from tracelet_otel import semconv

STATUS = {
    (semconv.HW_STATUS, state): int(state == semconv.STATE_FAILED)
    for state in (semconv.STATE_OK, semconv.STATE_DEGRADED, semconv.STATE_FAILED)
}
READINGS = {
    "utilization": [(semconv.GPU_UTILIZATION, semconv.TASK_GENERAL)],
    "encoder": [(semconv.GPU_UTILIZATION, semconv.TASK_ENCODER)],
    "decoder": [(semconv.GPU_UTILIZATION, semconv.TASK_DECODER)],
    "memory_used": [
        (semconv.GPU_MEMORY_USAGE, None),
        (semconv.GPU_MEMORY_LIMIT, None),
        (semconv.GPU_MEMORY_UTILIZATION, None),
    ],
    "power": [(semconv.HW_POWER, None)],
    "energy": [(semconv.HW_ENERGY, None)],
    "temperature": [(semconv.HW_TEMPERATURE, None)],
    "fan": [(semconv.HW_FAN_SPEED_RATIO, None)],
    "corrected": [(semconv.HW_ERRORS, semconv.ERRORS_CORRECTED)],
    "uncorrected": [(semconv.HW_ERRORS, semconv.ERRORS_UNCORRECTED)],
    "sm_clock": [(semconv.GPU_CLOCK_FREQUENCY, semconv.CLOCK_SM)],
    "memory_clock": [(semconv.GPU_CLOCK_FREQUENCY, semconv.CLOCK_MEMORY)],
    "throttle": [(semconv.GPU_THROTTLE, None)],
    "throttle_known": [(semconv.GPU_THROTTLE, None)],
    "pcie_received": [(semconv.GPU_PCIE_THROUGHPUT, semconv.DIRECTION_RECEIVE)],
    "pcie_transmitted": [(semconv.GPU_PCIE_THROUGHPUT, semconv.DIRECTION_TRANSMIT)],
    "processes": [(semconv.GPU_PROCESS_MEMORY_USAGE, None)],
}
"""By what the stand-in calls it: which series it is, all points of a metric where it is throttling."""


def without(series, reading):
    """Series of a machine without a reading of GPU 0."""
    gone = READINGS[reading]
    return {
        key: value
        for key, value in series.items()
        if key[1] != uuid(0)
        or ((key[0], key[2]) not in gone and not (key[0] == semconv.GPU_THROTTLE and reading.startswith("throttle")))
    }


def of(series, index):
    return {(name, own): value for (name, device, own), value in series.items() if device == uuid(index)}


def test_a_reading_that_is_not_there_is_absent(nvml, observe):
    nvml.plays(machine(2))
    child = observe(nvml.environment)
    everything = child.series()
    for reading in READINGS:
        for code in (stand_in.NOT_SUPPORTED, stand_in.NO_PERMISSION, stand_in.FUNCTION_NOT_FOUND):
            nvml.plays(machine(2, **{f"0.{reading}.error": code}))
            # What a device knows is asked when it is opened.
            child("stop")
            child("resume")
            assert child.series() == without(everything, reading), (reading, code)
    assert child("counts") == {}


def test_a_reading_that_fails_is_absent_said_once_and_comes_back(nvml, observe):
    nvml.plays(machine(2))
    child = observe(nvml.environment)
    everything = child.series()
    counted: Counter[str] = Counter()
    for reading in READINGS.keys() - {"throttle_known"}:
        nvml.plays(machine(2, **{f"0.{reading}.error": stand_in.UNKNOWN}))
        for _ in range(3):
            assert child.series() == without(everything, reading), reading
        ((place, count),) = (Counter(child("counts")) - counted).items()
        assert place.endswith("of GPU 0 could not be read"), reading
        assert count == 3, reading
        assert child.log.count(place) == 1, reading
        counted[place] += count
        nvml.plays(machine(2))
        assert child.series() == everything, reading
    assert child("counts") == counted


def test_other_gpus_are_read_where_one_tells_nothing(nvml, observe):
    nvml.plays(machine(2))
    child = observe(nvml.environment)
    everything = child.series()
    nvml.plays(machine(2, **{"0.error": stand_in.UNKNOWN}))
    found = child.series()
    assert of(found, 1) == of(everything, 1)
    assert set(of(found, 0)) == set(STATUS)


@pytest.mark.parametrize("code", [stand_in.GPU_IS_LOST, stand_in.RESET_REQUIRED])
def test_a_gpu_that_is_lost_has_failed_and_takes_no_other_with_it(nvml, observe, code):
    nvml.plays(machine(3))
    child = observe(nvml.environment)
    everything = child.series()
    nvml.plays(machine(3, **{"1.error": code}))
    asked = child("calls", "nvmlDeviceGetUtilizationRates")
    for _ in range(3):
        found = child.series()
        assert of(found, 1) == STATUS
        assert (of(found, 0), of(found, 2)) == (of(everything, 0), of(everything, 2))
    assert child("counts") == {"GPU 1 is lost, its readings end": 1}
    assert child.log.count("GPU 1 is lost") == 1
    # Two GPUs three times, and the lost one never: its memory was the first that it did not tell.
    assert child("calls", "nvmlDeviceGetUtilizationRates") == asked + 6
    nvml.plays(machine(3))
    assert of(child.series(), 1) == STATUS


@pytest.mark.parametrize(
    "changes", [{"1.error": 15}, {"1.handle.error": 15}, {"1.uuid.error": 15}, {"1.name.error": 15}]
)
def test_a_gpu_that_was_lost_before_is_left_out_and_the_others_keep_their_index(nvml, observe, changes):
    nvml.plays(machine(3, **changes))
    child = observe({**nvml.environment, "CUDA_VISIBLE_DEVICES": "2,1"})
    for _ in range(2):
        assert {device for _, device, _ in child.series()} == {uuid(2)}
    assert child("counts") == {"GPU 1 could not be opened": 1}


@pytest.mark.parametrize("code", [stand_in.UNINITIALIZED, stand_in.DRIVER_NOT_LOADED, stand_in.LIB_RM_VERSION_MISMATCH])
def test_a_driver_that_goes_ends_everything_until_it_is_back(nvml, observe, code):
    nvml.plays(machine(2))
    child = observe(nvml.environment)
    everything = child.series()
    nvml.plays(machine(2, gone=code, init=stand_in.DRIVER_NOT_LOADED))
    for _ in range(3):
        assert child.series() == {}
    assert child("counts") == {"the GPU driver is gone, all readings end": 1}
    assert child.log.count("the GPU driver is gone") == 1
    assert child("calls", "nvmlInitWithFlags") == 1
    child("wait", 60)
    for _ in range(3):
        assert child.series() == {}
    assert child("calls", "nvmlInitWithFlags") == 2
    nvml.plays(machine(2))
    child("wait", 60)
    assert child.series() == everything
    assert child("counts") == {"the GPU driver is gone, all readings end": 1}


def test_a_driver_that_is_not_loaded_is_no_error_and_may_come(nvml, observe):
    nvml.plays(machine(1, init=stand_in.DRIVER_NOT_LOADED))
    child = observe(nvml.environment)
    for _ in range(3):
        assert child.series() == {}
    child("wait", 60)
    assert child.series() == {}
    assert child("calls", "nvmlInitWithFlags") == 2
    assert child.log.splitlines() == ["DEBUG:tracelet_otel:no NVIDIA GPU is observed: Driver Not Loaded"]
    nvml.plays(machine(1))
    child("wait", 60)
    assert child.series()
    assert child("counts") == {}


def test_a_driver_that_does_not_let_us_in_is_said(nvml, observe):
    nvml.plays(machine(1, init=stand_in.LIB_RM_VERSION_MISMATCH))
    child = observe(nvml.environment)
    for _ in range(2):
        assert child.series() == {}
    assert child("counts") == {"GPUs could not be read": 1}
    assert "NVML/RM version mismatch" in child.log


@pytest.mark.cold
def test_a_missing_library_is_no_error(tmp_path, observe):
    # Also where the machine has one.
    (tmp_path / stand_in.LIBRARY).write_text("no library")
    child = observe({"LD_LIBRARY_PATH": str(tmp_path)})
    for _ in range(3):
        assert child.series() == {}
    assert child("counts") == {}
    assert child.log.splitlines() == ["DEBUG:tracelet_otel:no NVIDIA GPU is observed: NVML Shared Library Not Found"]


def test_a_missing_package_is_no_error(nvml, observe):
    nvml.plays(machine(1))
    child = observe(nvml.environment, without_package=True)
    for _ in range(3):
        assert child.series() == {}
    assert child("counts") == {}
    assert child.log.splitlines() == ["DEBUG:tracelet_otel:no NVIDIA GPU is observed: nvidia-ml-py is not installed"]


def test_an_old_driver_tells_what_it_has(nvml, old_nvml, observe):
    nvml.plays(machine(2))
    expected = observe(nvml.environment).series()
    for index in range(2):
        del expected[semconv.HW_ENERGY, uuid(index), None]
        # Its first version counts what the driver keeps for itself.
        used = (30 + index) * GIB + GIB // 2
        expected[semconv.GPU_MEMORY_USAGE, uuid(index), None] = used
        expected[semconv.GPU_MEMORY_UTILIZATION, uuid(index), None] = used / (80 * GIB)
    child = observe(old_nvml.environment)
    assert child.series() == expected
    assert child("counts") == {}


def test_what_a_device_does_not_say_of_itself_is_no_attribute(nvml, observe):
    script = machine(1, **{"0.name.error": stand_in.NOT_SUPPORTED})
    del script["driver"]
    nvml.plays(script)
    metrics = observe(nvml.environment)("collect")
    (point,) = next(metric for metric in metrics if metric["name"] == semconv.HW_POWER)["points"]
    assert point["attributes"] == {
        semconv.HW_ID: uuid(0),
        semconv.HW_TYPE: semconv.HW_TYPE_GPU,
        semconv.HW_VENDOR: semconv.HW_VENDOR_NVIDIA,
        semconv.GPU_INDEX: 0,
    }
