"""Cases that a review found, each as the shortest script that showed it."""

from __future__ import annotations

import functools
import logging
import math
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest import mock

import cloudpickle
import numpy as np
import pytest
import torch

import tracelet_otel as tracelet
from tests.integration.conftest import IN_PROCESS
from tests.support.mlflow_store import multiset, stored_run
from tests.support.trainings import Training, namespace, regression

pl = namespace("lightning.pytorch")
pytestmark = IN_PROCESS


@pytest.fixture
def run(database):
    run = tracelet.start_logging(config={"stop_timeout": 10})
    yield SimpleNamespace(run=run, stored=lambda: (tracelet.stop_logging(), stored_run(database))[1])
    tracelet.stop_logging()


def test_text_that_has_no_encoding_takes_nothing_with_it(run):
    run.run.log_params({"path": "caf\udce9", "name\udce9": 1, "good": 2})
    run.run.log_metric("bad\udce9", 1.0, 1)
    for step in range(100):
        run.run.log_metric("a", step, step)
    stored = run.stored()
    assert stored.status == "FINISHED"
    assert stored.multiset == multiset([("a", step, float(step)) for step in range(100)] + [("badudce9", 1, 1.0)])
    assert (stored.params["path"], stored.params["good"]) == ("caf\\udce9", "2")
    assert run.run.accounts["mlflow"].pending == 0


def test_points_that_differ_in_order_or_kind_only_are_all_there(run):
    for value in (1.0, 2.0, 1.0, 2.0, 1.0):
        run.run.log_metric("a", value, 0)
    for value in (math.inf, -math.inf, math.nan):
        run.run.log_metric("b", value, 0)
    stored = run.stored()
    assert stored.multiset == multiset([("a", 0, v) for v in (1, 2, 1, 2, 1)] + [("b", 0, math.nan)] * 3)


def test_arrays_and_steps_that_change_after_logging(run):
    array, step = np.zeros(()), torch.tensor(0)
    for _ in range(3):
        array += 1
        step += 1
        run.run.log_metric("a", array, step)
    assert run.stored().multiset == multiset([("a", 1, 1.0), ("a", 2, 2.0), ("a", 3, 3.0)])


def test_hyperparameters_that_hold_themselves_take_no_others_with_them(run):
    params = {"good": 1}
    params["self"] = params
    run.run.log_params(params)
    assert run.stored().params["good"] == "1"


def test_a_parameter_that_another_writer_has_set_takes_no_others_with_it(run, database):
    from mlflow import MlflowClient

    MlflowClient(f"sqlite:///{database}").log_param(stored_run(database).run_id, "lr", "1")
    run.run.log_params({"lr": 2, **{f"p{number}": number for number in range(150)}})
    stored = run.stored()
    assert len(stored.params) == 151
    assert (stored.params["lr"], stored.tags["tracelet.param.lr"]) == ("1", "2")


def logger(log_metrics):
    return type("Odd", (pl.loggers.CSVLogger,), {"log_metrics": log_metrics})("csv")


def test_a_users_logger_gets_its_call_as_it_was_made(run):
    calls = []

    def keyword_only(self, *, metrics, step=None):
        calls.append((metrics, step))

    def other_order(self, step=None, metrics=None):
        calls.append((metrics, step))

    def own_default(self, metrics, step=7, prefix=""):
        calls.append((metrics, step, prefix))

    def train(odd, hook):
        Training({"max_epochs": 1}, module=lambda pl: regression(pl, on_train_start=hook))(pl, odd)

    train(logger(keyword_only), lambda self: self.logger.log_metrics(metrics={"x": 1.0}, step=3))
    train(logger(other_order), lambda self: self.logger.log_metrics(3, {"y": 1.0}))
    train(logger(own_default), lambda self: self.logger.log_metrics({"z": 1.0}, 4, "p/"))
    train(logger(own_default), lambda self: self.logger.log_metrics({"w": 1.0}))
    assert [call for call in calls if call[0].keys() & {"x", "y", "z", "w"}] == [
        ({"x": 1.0}, 3),
        ({"y": 1.0}, 3),
        ({"z": 1.0}, 4, "p/"),
        ({"w": 1.0}, 7, ""),
    ]
    stored = run.stored()
    assert {point for point in stored.multiset if point[0] in {"x", "y", "z", "w"}} == {
        ("x", 3, 1.0),
        ("y", 3, 1.0),
        ("z", 4, 1.0),
        ("w", 0, 1.0),
    }


def test_rows_handed_to_several_loggers_in_turn_are_there_once(run):
    def on_train_batch_end(self, *_):
        for one in self.loggers:
            one.log_metrics({"a": 1.0}, self.global_step)
            one.log_metrics({"b": 2.0}, self.global_step)

    loggers = [pl.loggers.CSVLogger("csv"), pl.loggers.TensorBoardLogger("tensorboard")]
    Training({"max_epochs": 1}, module=lambda pl: regression(pl, on_train_batch_end=on_train_batch_end))(pl, loggers)
    stored = run.stored()
    assert [sum(name == wanted for name, *_ in stored.points) for wanted in "ab"] == [8, 8]


def test_rows_of_several_loggers_that_are_alike_and_not_the_same_are_all_there(run):
    def on_train_start(self):
        one, other = self.loggers
        one.log_metrics({"a": 1.0, "b": 1.0}, 1)
        other.log_metrics({"a": 1.0, "b": 1.0}, 2)
        other.log_metrics({"a": 1.0, "b": 3.0}, 1)
        other.log_metrics({"a": 1.0}, 1)

    loggers = [pl.loggers.CSVLogger("csv"), pl.loggers.TensorBoardLogger("tensorboard")]
    Training({"max_epochs": 1}, module=lambda pl: regression(pl, on_train_start=on_train_start))(pl, loggers)
    handed = [(name, step, value) for name, step, value, _ in run.stored().points if name in {"a", "b"}]
    assert multiset(handed) == multiset(
        [("a", 1, 1.0), ("b", 1, 1.0), ("a", 2, 1.0), ("b", 2, 1.0), ("a", 1, 1.0), ("b", 1, 3.0), ("a", 1, 1.0)]
    )


def test_the_rows_of_several_trainers_are_all_there(run):
    for fold in range(3):
        loggers = [pl.loggers.CSVLogger(f"csv{fold}"), pl.loggers.TensorBoardLogger(f"tensorboard{fold}")]
        monitor = pl.callbacks.LearningRateMonitor("epoch")
        Training({"max_epochs": 1, "callbacks": [monitor]})(pl, loggers)
    assert sum(name == "lr-SGD" for name, *_ in run.stored().points) == 3


def test_the_hyperparameters_of_each_training_are_all_there(run):
    """Though nothing is exported between them."""

    def trains(hparams):
        module = regression(pl)
        module.save_hyperparameters(hparams)
        Training({"max_epochs": 1}, module=lambda pl: module)(pl, False)

    trains({"model": "NHITS", "lr": 0.1, "width": 4})
    trains({"model": "LSTM", "lr": 0.1, "layers": 2})
    stored = run.stored()
    expected = {"model": "NHITS", "lr": "0.1", "width": "4", "layers": "2"}
    # Beside them are those of the optimizer, under the short names that MLflow's users know.
    assert expected.items() <= stored.params.items()
    assert {name: text for name, text in stored.tags.items() if name.startswith("tracelet.param.")} == {
        "tracelet.param.model": "LSTM"
    }


def test_bad_input_leaves_the_active_run_alone(run):
    with pytest.raises(tracelet.ConfigurationError):
        tracelet.start_logging(backend="nowhere")
    assert tracelet.get_active_run() is run.run


def test_callbacks_that_are_replaced_in_mid_fit_lose_nothing(run):
    def on_train_start(self):
        self.trainer.callbacks = [pl.callbacks.LambdaCallback()]

    Training({"max_epochs": 1}, module=lambda pl: regression(pl, on_train_start=on_train_start))(pl, False)
    assert sum(name == "train/step_only" for name, *_ in run.stored().points) == 8


def test_a_logger_without_our_methods_costs_its_own_rows_only(run):
    class Proxy:
        def __init__(self):
            self.inner = pl.loggers.CSVLogger("csv")

        def __getattr__(self, name):
            return getattr(self.inner, name)

    Training({"max_epochs": 1})(pl, [Proxy()])
    stored = run.stored()
    assert stored.params["lightning/trainer/max_epochs"] == "1"
    assert run.run.errors == {
        f"what is handed to Proxy.{method} itself will be missing": 1 for method in ("log_metrics", "log_hyperparams")
    }


@pytest.mark.parametrize("place", ["logger", "handler"])
def test_a_filter_of_the_users_that_raises_does_not_reach_the_training(run, place, capsys):
    class Filter(logging.Filter):
        def filter(self, record):
            raise RuntimeError("no records today")

    logger = logging.getLogger("tracelet_otel")
    handler = logging.StreamHandler()
    (logger if place == "logger" else handler).addFilter(raising := Filter())
    logger.addHandler(handler)
    try:
        Training({"max_epochs": 1})(pl, [static_logger()])
    finally:
        logger.removeFilter(raising)
        logger.removeHandler(handler)
    said = "what is handed to Odd.log_metrics itself will be missing"
    assert run.run.errors == {said: 1}
    assert f"tracelet: {said}: " in (written := capsys.readouterr().err)
    assert "no records today" in written
    assert sum(name == "train/step_only" for name, *_ in run.stored().points) == 8


def static_logger():
    """One of whose calls we can take nothing."""
    return type("Odd", (pl.loggers.CSVLogger,), {"log_metrics": static([])})("csv")


def keeps(rows: list) -> Callable:
    """A function that keeps what it is called with."""
    return lambda *args, **kwargs: rows.append((args, kwargs))


def static(rows: list) -> Any:
    return staticmethod(keeps(rows))


def of_class(rows: list) -> Any:
    return classmethod(keeps(rows))


def partial(rows: list) -> Any:
    return functools.partial(keeps(rows))


def mocked(rows: list) -> Any:
    return mock.Mock(side_effect=keeps(rows))


def mocked_as_function(rows: list) -> Any:
    """It says that its class is that of functions."""
    return mock.Mock(side_effect=keeps(rows), spec=lambda: None)


@pytest.mark.parametrize("make", [keeps, static, of_class, partial, mocked, mocked_as_function])
@pytest.mark.parametrize("method", ["log_metrics", "log_hyperparams"])
def test_a_method_of_a_logger_is_called_as_it_would_be_without_us(database, make, method):
    """Somebody has put something else into the class of a logger, as tests with mocks do."""

    def calls() -> list:
        made: list = []
        odd = type("Odd", (pl.loggers.CSVLogger,), {method: make(made)})
        params = {"lr": 0.1}
        monitor = pl.callbacks.LearningRateMonitor("epoch")
        of_user = lambda self: self.logger.log_hyperparams(params)  # noqa: E731
        training = Training(
            {"max_epochs": 1, "callbacks": [monitor]}, module=lambda pl: regression(pl, on_train_start=of_user)
        )
        training(pl, [odd("csv")])
        # Of a call, what could differ: loggers and classes are made anew each time.
        return [([type(one).__name__ for one in args], sorted(kwargs)) for args, kwargs in made]

    without = calls()
    run = tracelet.start_logging(config={"stop_timeout": 10})
    assert calls() == without
    assert len(without) > 1 or method == "log_hyperparams"
    tracelet.stop_logging()
    said = {f"what is handed to Odd.{method} itself will be missing"} if make is not keeps else set()
    assert run.errors.keys() == said
    # Of what Lightning logs nothing is missing.
    names = Counter(name for name, *_ in stored_run(database).points)
    assert names["train/step_only"] == 8
    assert ("lr-SGD" in names) == (method == "log_hyperparams" or make is keeps)


def test_a_users_logger_can_be_pickled_by_value(run):
    cloudpickle.register_pickle_by_value(__import__(__name__, fromlist=["x"]))
    copies = []

    def on_train_start(self):
        copies.append(cloudpickle.loads(cloudpickle.dumps(type(self.logger))))

    odd = logger(lambda self, metrics, step=None: None)
    Training({"max_epochs": 1}, module=lambda pl: regression(pl, on_train_start=on_train_start))(pl, odd)
    cloudpickle.unregister_pickle_by_value(__import__(__name__, fromlist=["x"]))
    assert len(copies) == 1
