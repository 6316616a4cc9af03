"""What collectors get of attempts, and what a fit that resumes says."""

from __future__ import annotations

import json

import lightning.pytorch as pl
import pytest
import torch

import tracelet_otel as tracelet
from tests.support.otlp_receiver import HttpReceiver
from tests.support.quiet import quiet_trainer
from tests.support.trainings import loader, regression
from tracelet_otel import semconv
from tracelet_otel.api.active import _roles
from tracelet_otel.resource.attempts import SUFFIX

EPOCH = 8
"""In steps."""


@pytest.fixture
def receiver(monkeypatch):
    made = HttpReceiver()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.endpoint)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    yield made
    made.stop()


def train(steps: int, checkpoint: str | None = None) -> None:
    torch.manual_seed(1)
    trainer = quiet_trainer(pl, max_steps=steps)
    trainer.fit(regression(pl), loader(), ckpt_path=checkpoint)
    trainer.save_checkpoint("saved.ckpt")


def last_values(receiver: HttpReceiver) -> dict[str, float]:
    """The last value of each metric of attempts."""
    names = (semconv.RUN_RESTARTS, semconv.RUN_LOST_STEPS, semconv.RUN_DOWNTIME, semconv.RESUMED_STEP)
    found = {}
    for metric in receiver.metrics:
        if metric.name in names:
            for point in (metric.sum if metric.HasField("sum") else metric.gauge).data_points:
                found[metric.name] = point.as_double or point.as_int
    return found


@pytest.fixture
def dies(tmp_path):
    """Makes this process another one: the runs it has begun are those of a process that is gone, four steps on."""

    def dies(*runs: tracelet.Run) -> None:
        for run in runs:
            path = tmp_path / "journals" / f"{run.id}{SUFFIX}"
            known = json.loads(path.read_text())
            path.write_text(json.dumps({**known, "pid": 2**22 + 1, "step": EPOCH + 4, "seen_s": known["seen_s"] - 100}))
        # It counts its runs from the beginning.
        _roles._forget()

    _roles._forget()
    return dies


def test_counters_begin_with_the_second_attempt(receiver, dies):
    config = {"run_key": "k"}
    with tracelet.start_logging("first", backend="otlp", config=config) as first:
        train(EPOCH)
    assert last_values(receiver) == {}
    dies(first)
    with tracelet.start_logging(backend="otlp", config=config) as second:
        train(2 * EPOCH, "saved.ckpt")
    assert (second.id, second.name) == (first.id, "first")
    values = last_values(receiver)
    assert values.pop(semconv.RUN_DOWNTIME) > 100
    assert values == {semconv.RUN_RESTARTS: 1, semconv.RUN_LOST_STEPS: 4, semconv.RESUMED_STEP: EPOCH}
    assert (first.errors, second.errors) == ({}, {})


def test_each_run_of_a_script_goes_on_with_itself(receiver, dies):
    runs = []
    for _ in range(2):
        for _ in range(2):
            with tracelet.start_logging(backend="otlp", config={"run_key": "k"}) as run:
                runs.append(run)
        dies(*runs)
    assert runs[0].id != runs[1].id
    assert [run.id for run in runs[:2]] == [run.id for run in runs[2:]]


def test_who_trains_twice_does_not_tell_what_was_lost(receiver, dies):
    config = {"run_key": "k"}
    with tracelet.start_logging(backend="otlp", config=config) as run:
        train(EPOCH)
        train(EPOCH)
    dies(run)
    with tracelet.start_logging(backend="otlp", config=config):
        train(EPOCH)
    assert semconv.RUN_LOST_STEPS not in last_values(receiver)
    assert last_values(receiver)[semconv.RUN_RESTARTS] == 1


def test_a_fit_that_resumes_says_where(receiver):
    train(EPOCH)
    with tracelet.start_logging(backend="otlp") as run:
        train(2 * EPOCH, "saved.ckpt")
    assert last_values(receiver) == {semconv.RESUMED_STEP: EPOCH}
    (told,) = [found for name, _, found, _ in receiver.events if name == semconv.EVENT_TRAINING_RESUMED]
    assert (told[semconv.STEP], told[semconv.FILE_PATH]) == (EPOCH, "saved.ckpt")
    assert run.errors == {}
