"""Steps of a real training that took far longer than most, in its trace; and exemplars that lead there."""

from __future__ import annotations

import importlib
import time
from typing import Any

import pytest
from torch.utils.data import DataLoader

from tests.support.otlp_receiver import HttpReceiver
from tests.support.quiet import quiet_trainer
from tests.support.span_tree import spans_of
from tests.support.timed import Data, Stopwatch, module_of
from tracelet_otel import semconv

pytestmark = pytest.mark.usefixtures("with_time")
pl = importlib.import_module("lightning.pytorch")
PAUSE_S = 0.3


class Pauses(pl.Callback):  # type: ignore[misc]
    """Makes the steps 30 and 35 long, the second within a minute of the first."""

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx in (29, 34):
            time.sleep(PAUSE_S)


def train(tmp_path: Any) -> None:
    watch = Stopwatch(0)
    trainer = quiet_trainer(pl, default_root_dir=tmp_path, max_epochs=1, callbacks=[Pauses()])
    trainer.fit(module_of(watch), DataLoader(Data(watch, "data_wait", 40), 1))


def test_a_slow_step_is_a_span_with_its_phases(tmp_path, recorded):
    [fit] = recorded(lambda: train(tmp_path))
    [epoch] = [span for span in fit.children if span.name == semconv.SPAN_EPOCH]
    [slow] = epoch.children
    assert slow.name == semconv.SPAN_STEP
    assert slow.attributes.keys() == {semconv.STEP_NUMBER, semconv.STEP_MEDIAN}
    assert slow.attributes[semconv.STEP_NUMBER] == 30
    assert 0 < slow.attributes[semconv.STEP_MEDIAN] < PAUSE_S / 3
    assert {span.name for span in slow.children} <= set(semconv.PHASES)
    # One after the other, and as long as the step.
    ends = [span.end_ns for span in slow.children]
    assert [span.begin_ns for span in slow.children] == [slow.begin_ns, *ends[:-1]]
    assert ends[-1] == slow.end_ns
    longest = max(slow.children, key=lambda span: span.end_ns - span.begin_ns)
    assert longest.attributes == {semconv.PHASE: semconv.PHASE_CALLBACK, semconv.PHASE_OWNER: "Pauses"}
    assert longest.end_ns - longest.begin_ns >= PAUSE_S * 1e9


def test_the_durations_of_steps_refer_to_the_trace(tmp_path, recorded, receiver: HttpReceiver):
    recorded(lambda: train(tmp_path))
    spans = {(span.trace_id, span.span_id) for span in spans_of(receiver.traces)}
    found = {
        (exemplar.trace_id.hex(), exemplar.span_id.hex())
        for metric in receiver.metrics
        if metric.name == semconv.STEP_DURATION
        for point in metric.histogram.data_points
        for exemplar in point.exemplars
    }
    assert found
    assert found <= spans
