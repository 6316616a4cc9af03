"""Alerts of a real training, with the shipped rules in which minutes are seconds; nothing else of them differs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.gpu.stand_in import GIB, StandIn, machine
from tests.prometheus.stack import CONFIG, RULES
from tests.support.waiting import wait_until

LOOKBACK = {"query.lookback-delta": "5s"}
"""Five minutes in the same measure."""


@pytest.fixture
def hasty(make_chain, tmp_path):
    """The chain with such rules."""
    rules = re.sub(r"\b(\d+)m\b", r"\1s", RULES.read_text())
    rules = rules.replace("interval: 15s", "interval: 500ms").replace("for: 30s", "for: 1s")
    (tmp_path / RULES.name).write_text(rules)
    (tmp_path / CONFIG.name).write_text(CONFIG.read_text())
    return make_chain(config=tmp_path / CONFIG.name, **LOOKBACK)


@pytest.mark.slow
def test_a_training_in_trouble(hasty, library):
    nvml = StandIn(library, hasty.home / "nvml.txt")
    order = hasty.home / "order"

    def told(what, **gpu):
        # Whole: the training may read it at any time.
        new = Path(f"{order}.new")
        new.write_text(what)
        new.replace(order)
        nvml.plays(machine(1, **{f"0.{name}": value for name, value in gpu.items()}))

    def firing(*expected):
        wait_until(lambda: set(hasty.prometheus.firing()) == set(expected), 60, f"{expected} firing alone")
        return hasty.prometheus.firing()

    told("train")
    process = hasty.start("obedient.py", **nvml.environment)
    try:
        hasty.wait_for("tracelet_trainer_global_step > 20")
        firing()
        told("nan")
        said = firing("TraceletLossNotFinite")
        assert said["TraceletLossNotFinite"]["summary"] == "train_loss of run obedient became NaN"
        told("train")
        firing()
        told("hang")
        said = firing("TraceletTrainingHung")
        assert said["TraceletTrainingHung"]["summary"] == "Run obedient makes no steps"
        told("train", utilization=0)
        firing("TraceletGpuIdle")
        told("train", memory_used=79 * GIB)
        said = firing("TraceletGpuMemoryHigh")
        # What the driver keeps for itself is in use, too.
        assert re.fullmatch(r"9\d\.\d+% of its memory is in use\.", said["TraceletGpuMemoryHigh"]["description"])
        told("fail")
        firing("TraceletRunFailed")
        assert process.wait(30) != 0
        firing()
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_training_that_is_killed(hasty):
    (hasty.home / "order").write_text("train")
    process = hasty.start("obedient.py")
    hasty.wait_for("tracelet_trainer_global_step > 5")
    process.kill()
    process.wait()
    wait_until(lambda: set(hasty.prometheus.firing()) == {"TraceletRunLost"}, 30, "the alert")
    wait_until(lambda: not hasty.prometheus.firing(), 60, "its end")
