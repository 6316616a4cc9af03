"""What is observed equals what `nvidia-smi` says: of a real GPU where there is one, else of the stand-in."""

from __future__ import annotations

import shutil

import pytest

from tests.gpu import against_nvidia_smi as smi
from tests.gpu.observing import series
from tests.gpu.stand_in import DRIVER, NOT_SUPPORTED, machine, uuid


@pytest.fixture
def said(nvml):
    """The environment in which to observe, and a function that says what `nvidia-smi` does."""
    if shutil.which("nvidia-smi"):
        return {}, smi.ask_nvidia_smi
    nvml.plays(machine(2, **{"1.fan.error": NOT_SUPPORTED}))
    lines = [
        f"{index}, {uuid(index)}, NVIDIA H100 80GB HBM3, {DRIVER}, {40 + index}, {20 + index}, {10 + index}, "
        f"{(30 + index) * 1024}, 81920, 350.50, {50 + index}, {fan}, {3 + index}, 0, {1980 - index}, 2619\n"
        for index, fan in enumerate(["60", "[N/A]"])
    ]
    return nvml.environment, lambda: "".join(lines)


def test_equals_what_nvidia_smi_says(said, observe):
    environment, ask = said
    child = observe(environment)
    child("collect")
    rows, metrics = smi.rows_of(ask()), child("collect")
    assert smi.identities(metrics) == [{field: row[field] for field in smi.IDENTITY} for row in rows]
    assert [difference for row in rows for difference in smi.differences(series(metrics), row)] == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"temperature.gpu": "90"}, "temperature.gpu is 90, observed is 50"),
        ({"fan.speed": "[N/A]"}, "fan.speed is [N/A], observed is 60"),
        ({"memory.total": "40960"}, "memory.total is 40960, observed is 81920"),
    ],
)
def test_a_difference_is_seen(nvml, observe, change, expected):
    nvml.plays(machine(1))
    values = {"index": "0", "uuid": uuid(0), **dict.fromkeys(smi.QUERY[2:], "[N/A]"), **change}
    found = smi.differences(observe(nvml.environment).series(), values)
    assert any(expected in difference for difference in found)
