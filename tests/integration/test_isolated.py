"""Runs of threads, each with what its thread trains, beside the one that a process has by default."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import lightning.pytorch as pl

import tracelet_otel as tracelet
from tests.integration.conftest import IN_PROCESS
from tests.support.mlflow_store import multiset, stored_runs
from tests.support.quiet import quiet_trainer
from tests.support.recording import recording_logger
from tests.support.trainings import loader, regression

pytestmark = IN_PROCESS
SETTINGS = {"track_system": False, "export_interval": 0.1}
Points = Counter[tuple[str, int, Any]]


def train(number: int, wait: Callable[[], object]) -> Points:
    """Train in step with other threads; returns what the trainer's own logger got."""

    class InStep(pl.Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            pl_module.log("number", float(number))
            wait()
            trainer.logger.log_metrics({"by hand": float(number)}, step=trainer.global_step)

    logger = recording_logger(pl)
    quiet_trainer(pl, max_epochs=1, logger=logger, callbacks=[InStep()]).fit(regression(pl), loader())
    # Also when the trainer has done its work, its logger belongs to the run.
    logger.log_metrics({"after": float(number)}, step=1)
    return multiset((name, step, value) for metrics, step in logger.rows for name, value in metrics.items())


def test_each_thread_has_a_run_beside_that_of_the_process(database):
    in_step, logged, errors = threading.Barrier(4), {}, []

    def work(number: int) -> None:
        isolated = tracelet.start_logging(f"run {number}", config=SETTINGS, isolated=True) if number else nullcontext()
        with isolated as run:
            logged[number] = train(number, lambda: in_step.wait(60))
            (run or tracelet.get_active_run()).log_metric("its own", float(number), 1)
            assert tracelet.get_active_run() is run or not number
        errors.append(run.errors if run else {})

    with tracelet.start_logging("run 0", config=SETTINGS) as default:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert tracelet.get_active_run() is default
    found = {run.name: run.multiset for run in stored_runs(database)}
    assert found == {f"run {number}": logged[number] + multiset([("its own", 1, float(number))]) for number in range(4)}
    assert errors == [{}] * 4


def test_a_thread_that_stops_its_run_stops_no_other(database):
    with tracelet.start_logging("default", config=SETTINGS) as default:
        own = tracelet.start_logging("own", config=SETTINGS, isolated=True)
        assert tracelet.get_active_run() is own
        tracelet.stop_logging()
        assert tracelet.get_active_run() is default
        train(1, lambda: None)
    found = {run.name: len(run.points) for run in stored_runs(database)}
    assert found["own"] == 0
    assert found["default"] > 0
