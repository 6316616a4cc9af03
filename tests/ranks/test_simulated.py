"""Ranks that do what no well-behaved training does, through the real recorder, SDK, sender and relay."""

from __future__ import annotations

import os
import signal
import time

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

import tracelet_otel as tracelet
from tests.support.mlflow_store import multiset, stored_run
from tests.support.waiting import wait_until
from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.own_run import Participation
from tracelet_otel.instrumentation.recorder import Row
from tracelet_otel.instrumentation.signals import make_signals
from tracelet_otel.protocol import samples
from tracelet_otel.session.transport import relay_exporter

WORLD_SIZE = 2


class Trainer:
    """What is reported of one."""

    global_step = current_epoch = 0


class Rank:
    """One rank, which sends when it is told to."""

    def __init__(self, run, number: int, **attributes) -> None:
        connection = run._role.connection
        self.guard = Guard()
        self.exporter = relay_exporter(lambda: connection.address, connection.revive, self.guard)
        self._reader = PeriodicExportingMetricReader(
            self.exporter, 3_600_000, cardinality_limits=samples.cardinality_limits()
        )
        resource = {
            semconv.RUN_ID: run.id,
            semconv.RANK: number,
            semconv.SERVICE_INSTANCE_ID: f"{number}",
            semconv.HOST_NAME: "simulated",
        }
        self._provider = MeterProvider([self._reader], Resource({**resource, **attributes}), shutdown_on_exit=False)
        self.signals = make_signals(self._provider, self.guard, 10, Participation(owns_run=False))
        self.signals.outcome.value = semconv.OUTCOME_RUNNING
        self.trainer = Trainer()
        self.signals.progress.watch(self.trainer, lambda trainer: trainer.global_step)

    def send(self, values: dict[str, float], step: int, epoch: int = 0) -> None:
        row = Row(time.time_ns(), values, step, semconv.AXIS_TRAINER, "fit", epoch, 1, WORLD_SIZE)
        self.signals.recorder.record(row)
        self.flush()

    def flush(self) -> None:
        self._reader.collect()
        assert self.exporter.force_flush(30_000)

    def end(self, outcome: str = "finished") -> None:
        self.signals.outcome.settle(outcome, None)
        self.signals.outcome.end()
        self._provider.shutdown()


def begin(**config):
    run = tracelet.start_logging("simulated", config={"export_interval": 0.1, **config})
    return run, [Rank(run, number) for number in range(WORLD_SIZE)]


def say_that_it_ends(run) -> None:
    """What the run's end begins with: the relay knows of it, and nobody waits for the relay yet."""
    run._signals.outcome.settle("finished", None)
    run._signals.outcome.end()
    for reader in run._readers:
        reader.collect()
        assert run._role.exporters[0].force_flush(30_000)


def has(database, points) -> bool:
    return stored_run(database).multiset == multiset(points)


def test_what_comes_too_late_is_named_and_takes_nothing_with_it(database, caplog):
    run, (first, second) = begin(rank_timeout=0.5)
    second.flush()
    first.send({"loss": 1}, 0)
    wait_until(lambda: has(database, [("loss", 0, 1.0)]), 30, "what has waited too long")
    second.send({"loss": 3}, 0)
    second.send({"loss": 3}, 1)
    first.send({"loss": 1}, 1)
    for rank in (first, second):
        rank.end()
    run.stop()
    assert has(database, [("loss", 0, 1.0), ("loss", 1, 2.0)])
    place = "values of 'loss' came too late to be merged"
    assert run.errors == {place: 1, "'loss' lacks values of ranks at step 0": 1}
    assert place in caplog.text


def test_a_value_that_waits_for_a_rank_survives_the_relay(database):
    run, (first, second) = begin()
    second.flush()
    first.send({"loss": 1, "a": 5}, 0)
    os.kill(run._role.connection.pid, signal.SIGKILL)
    second.send({"loss": 3}, 0)
    for rank in (first, second):
        rank.end()
    run.stop()
    assert has(database, [("loss", 0, 2.0), ("a", 0, 5.0)])
    assert run.errors == {}


def test_what_was_delivered_without_a_rank_is_not_delivered_again_by_the_next_relay(database):
    run, (first, second) = begin(rank_timeout=0.5)
    second.flush()
    first.send({"loss": 1}, 0)
    first.send({"wait": 1}, 1)
    wait_until(lambda: len(stored_run(database).points) == 2, 30, "what has waited too long")
    os.kill(run._role.connection.pid, signal.SIGKILL)
    second.send({"loss": 3, "wait": 3}, 2)
    first.send({"loss": 1, "wait": 1}, 2)
    for rank in (first, second):
        rank.end()
    run.stop()
    assert has(database, [("loss", 0, 1.0), ("wait", 1, 1.0), ("loss", 2, 2.0), ("wait", 2, 2.0)])


def test_a_rank_that_ends_is_not_waited_for(database):
    run, (first, second) = begin()
    first.send({"loss": 1}, 0)
    second.end()
    wait_until(lambda: has(database, [("loss", 0, 1.0)]), 30, "what waits for nobody")
    first.send({"loss": 1}, 1)
    wait_until(lambda: has(database, [("loss", 0, 1.0), ("loss", 1, 1.0)]), 30, "what waits for nobody")
    first.end()
    run.stop()
    assert run.errors == {}


@pytest.mark.parametrize(("outcome", "status"), [("finished", "FINISHED"), ("failed", "FAILED")])
def test_a_rank_that_still_trains_is_waited_for_at_the_end(database, outcome, status):
    run, (first, second) = begin()
    second.send({"loss": 3}, 0)
    first.send({"loss": 1}, 0)
    first.end()
    say_that_it_ends(run)
    second.send({"loss": 7}, 1)
    second.end(outcome)
    run.stop()
    assert has(database, [("loss", 0, 2.0), ("loss", 1, 7.0)])
    assert stored_run(database).status == status


def test_a_rank_that_has_not_found_the_run_when_it_ends(database):
    run, (first, second) = begin()
    first.send({"loss": 1}, 0)
    first.end()
    say_that_it_ends(run)
    second.send({"loss": 3}, 0)
    second.end()
    run.stop()
    assert has(database, [("loss", 0, 2.0)])
    assert second.guard.counts == {}


@pytest.mark.slow
def test_what_a_rank_says_after_the_end_is_refused_for_good(database):
    run, (first, second) = begin()
    second.signals.outcome.value = semconv.OUTCOME_FINISHED
    for rank in (first, second):
        rank.send({"loss": 1}, 0)
    first.end()
    say_that_it_ends(run)
    wait_until(lambda: stored_run(database).status == "FINISHED", 30, "the run's end")
    second.send({"loss": 7, "other": 8}, 1)
    assert second.guard.counts == {"the relay refused an export": 1, "values were not delivered": 2}
    second.end()
    run.stop()
    assert has(database, [("loss", 0, 1.0)])


def test_hyperparameters_are_those_of_rank_0(database):
    run, (first, second) = begin()
    for value, rank in enumerate((first, second)):
        rank.signals.hparams.update({"seed": value})
        rank.send({"loss": 1}, 0)
    for rank in (first, second):
        rank.end()
    run.stop()
    stored = stored_run(database)
    assert stored.params == {"seed": "0"}
    assert not [tag for tag in stored.tags if tag.startswith("tracelet.param")]


def test_values_that_are_not_finite(database):
    run, (first, second) = begin()
    first.send({"loss": float("nan"), "other": 1}, 0)
    second.send({"loss": 1, "other": 1}, 0)
    first.send({"loss": 1}, 1)
    second.send({"loss": float("inf")}, 1)
    for rank in (first, second):
        rank.end()
    run.stop()
    assert has(database, [("loss", 0, float("nan")), ("other", 0, 1.0), ("loss", 1, float("nan"))])
    assert "step 1" in stored_run(database).tags["tracelet.nonfinite.loss"]
