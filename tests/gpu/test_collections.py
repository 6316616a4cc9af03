"""One pass over the devices for each collection, whoever collects."""

from __future__ import annotations

import pytest

from tests.gpu.stand_in import machine

ASKED = "nvmlDeviceGetUtilizationRates"
INITIALISED = "nvmlInitWithFlags"
STATIC = ("nvmlDeviceGetUUID", "nvmlDeviceGetName", "nvmlSystemGetDriverVersion", "nvmlDeviceGetHandleByIndex_v2")


@pytest.mark.cold
def test_a_collection_is_one_pass(nvml, observe):
    nvml.plays(machine(8))
    child = observe(nvml.environment)
    assert child("imported", "pynvml", "torch") == []
    for collections in (1, 2, 3):
        child.series()
        assert child("calls", ASKED) == 8 * collections
    assert child("calls", INITIALISED) == 1
    assert [child("calls", function) for function in STATIC] == [8, 8, 1, 8]


def test_several_readers_have_passes_of_their_own(nvml, observe):
    nvml.plays(machine(2))
    child = observe(nvml.environment, readers=2)
    first = child.series(0)
    nvml.plays(machine(2, **{"0.temperature": 71}))
    second = child.series(1)
    assert {key[0] for key in first if first[key] != second[key]} == {"hw.temperature"}
    assert child.series(0) == second
    assert child("calls", ASKED) == 2 * 3


def test_readers_that_collect_at_the_same_time(nvml, observe):
    nvml.plays(machine(2))
    child = observe(nvml.environment, readers=4)
    everything = len(child.series())
    before = child("calls", ASKED)
    assert child("collect_in_threads", 25) == [everything] * 100
    assert child("calls", ASKED) == before + 2 * 100
    assert child("counts") == {}


def test_a_forked_process_initialises_again(nvml, observe):
    nvml.plays(machine(2))
    child = observe(nvml.environment)
    before = child.series()
    forked = child("collect_forked")
    # The stand-in answers nobody who has not initialised it in that process.
    assert sum(len(metric["points"]) for metric in forked) == len(before)
    assert child.series() == before
    assert child("calls", INITIALISED) == 1
    assert child("counts") == {}


def test_a_fork_waits_for_a_pass(nvml, observe):
    nvml.plays(machine(2))
    child = observe(nvml.environment)
    # Else its child would find the driver locked for good.
    assert child("fork_while_reading") == 2


def test_a_fork_does_not_wait_for_ever(nvml, observe):
    nvml.plays(machine(2))
    child = observe(nvml.environment)
    first_s, second_s = child("fork_while_stuck", 1.0)
    assert first_s >= 1 > second_s


def test_who_stops_lets_go_of_nvml_and_may_go_on(nvml, observe):
    nvml.plays(machine(1))
    child = observe(nvml.environment)
    everything = child.series()
    child("stop")
    assert child.series() == {}
    assert child("calls", "nvmlShutdown") == 1
    child("resume")
    assert child.series() == everything
