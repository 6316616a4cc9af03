"""The instrumentor that `opentelemetry-instrument` finds."""

from __future__ import annotations

import pytest

from tests.gpu.observing import uuids
from tests.gpu.stand_in import machine, uuid

pytestmark = pytest.mark.whole


def test_it_observes_until_it_is_taken_out_and_again_afterwards(nvml, observe):
    nvml.plays(machine(2))
    child = observe(nvml.environment, trains=True, observes=False)
    assert child.series() == {}
    child("instrument")
    everything = child.series()
    assert uuids(everything) == [uuid(0), uuid(1)]
    child("uninstrument")
    assert child.series() == {}
    child("instrument")
    assert child.series() == everything
    assert child.log == ""


@pytest.mark.parametrize(
    ("environment", "devices"),
    [
        ({"LOCAL_RANK": "0"}, 2),
        ({"LOCAL_RANK": "1"}, 0),
        ({"RANK": "8", "LOCAL_RANK": "0", "WORLD_SIZE": "16"}, 2),
        ({"RANK": "9", "LOCAL_RANK": "1", "WORLD_SIZE": "16"}, 0),
        ({"SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_NODEID": "1", "SLURM_NTASKS": "8"}, 0),
        # Nothing says which place it has on its node.
        ({"RANK": "1", "WORLD_SIZE": "2"}, 2),
    ],
)
def test_one_rank_of_a_node_observes_it(nvml, observe, environment, devices):
    nvml.plays(machine(2))
    child = observe({**nvml.environment, **environment}, trains=True, observes=False)
    child("instrument")
    assert len(uuids(child.series())) == devices
    assert child("calls", "nvmlDeviceGetUtilizationRates") == devices


def test_the_stock_loader_says_nothing_where_there_is_no_nvml(nvml, observe):
    child = observe({}, trains=True, observes=False, without_package=True)
    child("load")
    assert child.series() == {}
    assert child.log.splitlines() == ["DEBUG:tracelet_otel:no NVIDIA GPU is observed: nvidia-ml-py is not installed"]


@pytest.mark.cold
def test_a_script_without_lightning_asks_for_no_gpu(nvml, observe):
    nvml.plays(machine(2))
    child = observe(nvml.environment, observes=False)
    child("instrument")
    assert child.series() == {}
    assert child("imported", "pynvml") == []
