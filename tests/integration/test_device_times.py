"""Steps of a real training on a device."""

from __future__ import annotations

import importlib
import time
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from torch.utils.data import DataLoader

from tests.support.quiet import quiet_trainer
from tests.support.timed import PAUSE_S, Data, Stopwatch, module_of
from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.lightning import LightningInstrumentor
from tracelet_otel.instrumentation.signals import make_signals
from tracelet_otel.instrumentation.timing.device import DeviceTimes
from tracelet_otel.instrumentation.timing.timing import Timing

pytestmark = pytest.mark.usefixtures("with_time")
pl = importlib.import_module("lightning.pytorch")


class HostEvent:
    """In the place of a device's: the host passes it when it is recorded."""

    def __init__(self) -> None:
        self.at_s = 0.0

    def record(self) -> None:
        self.at_s = time.perf_counter()

    def query(self) -> bool:
        return True

    def elapsed_time(self, end_event: HostEvent) -> float:
        return (end_event.at_s - self.at_s) * 1e3


def test_the_actions_of_a_real_step_are_measured_on_a_device(tmp_path):
    """There is no device here; that events are put where Lightning launches its work is seen without one."""
    watch = Stopwatch()
    provider = MeterProvider([reader := InMemoryMetricReader()], shutdown_on_exit=False)
    timing = Timing(provider, Guard())
    LightningInstrumentor().take_over(replace(make_signals(provider, Guard()), timing=timing))

    class HasDevice(pl.Callback):
        def on_fit_start(self, *_: Any) -> None:
            timing.actions.device = DeviceTimes(timing.actions, HostEvent, lambda: False, Guard(), every=2)

        def on_fit_end(self, *_: Any) -> None:
            times = timing.actions.device
            assert isinstance(times, DeviceTimes)
            found.update(times.take())
            assert times.steps == 3

    found: dict[str, float] = {}
    trainer = quiet_trainer(pl, default_root_dir=tmp_path, max_epochs=2, val_check_interval=2, callbacks=[HasDevice()])
    data = DataLoader(Data(watch, "data_wait", 8), 2), DataLoader(Data(watch, "validation", 4), 2)
    try:
        trainer.fit(module_of(watch), *data)
        host = {phase.name: seconds for phase, seconds in timing.fit_time.seconds.items()}
        assert reader.get_metrics_data()
    finally:
        LightningInstrumentor().uninstrument()
        provider.shutdown()
    assert set(found) == {"transfer", "forward", "backward", "optimizer"}
    assert timing.actions.device is None
    # Of three steps it is what they waited, and never more than the host has for all.
    assert all(3 * PAUSE_S - 0.001 <= seconds <= host[phase] for phase, seconds in found.items())
