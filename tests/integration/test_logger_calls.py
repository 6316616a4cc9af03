"""What users hand to loggers with hyperparameters, and loggers with a prefix: as those loggers store it."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import tracelet_otel as tracelet
from tests.integration.conftest import IN_PROCESS
from tests.support.mlflow_store import StoredRun, stored_run
from tests.support.trainings import NAMESPACES, Training, loader, namespace, regression, scheduled
from tracelet_otel import semconv

pytestmark = IN_PROCESS
pl = namespace("lightning.pytorch")
OF_TRAINING = ("train/", "val/", "epoch")


def recorded(database: Path, loggers: Any, calls: Any, package: str = "lightning.pytorch") -> tuple[StoredRun, Any]:
    """What a training stores that makes calls of loggers at its beginning, and the run."""
    with tracelet.start_logging() as run:
        Training({"max_epochs": 1}, module=lambda pl: regression(pl, on_train_start=calls))(namespace(package), loggers)
    return stored_run(database), run


def handed(stored: StoredRun) -> Counter[tuple[str, int, float]]:
    """Name, step and value of what was not logged by the training itself."""
    return Counter((name, step, value) for name, step, value, _ in stored.points if not name.startswith(OF_TRAINING))


def in_tensorboard(directory: str) -> Counter[tuple[str, int, float]]:
    events = EventAccumulator(directory).Reload()
    return Counter(
        (name, event.step, event.value) for name in events.Tags()["scalars"] for event in events.Scalars(name)
    )


@pytest.mark.parametrize("package", NAMESPACES)
def test_metrics_of_hyperparameters_are_those_that_tensorboard_stores(database, package):
    def calls(self):
        self.logger.log_hyperparams({"width": 4}, {"hp/loss": 0.5, "hp/accuracy": 0})
        self.logger.log_hyperparams(params={"depth": 2}, metrics={"hp/loss": 0.25}, step=7)
        self.logger.log_hyperparams({"seed": 1}, 0.125)

    logger = namespace(package).loggers.TensorBoardLogger("tensorboard", default_hp_metric=False)
    stored, run = recorded(database, logger, calls, package)
    theirs = in_tensorboard(logger.log_dir)
    of_hyperparams = Counter({point: n for point, n in theirs.items() if point[0].startswith("hp")})
    assert handed(stored) == of_hyperparams
    assert set(of_hyperparams) == {
        ("hp/loss", 0, 0.5),
        ("hp/accuracy", 0, 0.0),
        ("hp/loss", 7, 0.25),
        (semconv.HP_METRIC, 0, 0.125),
    }
    assert {"width": "4", "depth": "2", "seed": "1"}.items() <= stored.params.items()
    assert run.errors == {}


def test_what_tensorboard_stores_in_place_of_a_metric_is_none(database):
    """It puts -1 where no metric was given: that was not measured."""
    logger = pl.loggers.TensorBoardLogger("tensorboard")
    stored, run = recorded(database, logger, lambda self: self.logger.log_hyperparams({"width": 4}))
    assert (semconv.HP_METRIC, 0, -1.0) in in_tensorboard(logger.log_dir)
    assert handed(stored) == Counter()
    assert run.errors == {}


def test_metrics_of_hyperparameters_handed_to_several_loggers_are_there_once(database):
    class Takes(pl.loggers.CSVLogger):
        def log_hyperparams(self, params: Any, metrics: Any = None) -> None:
            super().log_hyperparams(params)

    def calls(self):
        for one in self.loggers:
            one.log_hyperparams({"width": 4}, {"hp/loss": 0.5})

    stored, run = recorded(database, [Takes("csv"), pl.loggers.TensorBoardLogger("tensorboard")], calls)
    assert handed(stored) == Counter({("hp/loss", 0, 0.5): 1})
    assert run.errors == {}


def test_a_logger_that_takes_no_metrics_raises_as_ever(database):
    """And another argument of a user's own logger is no metric."""

    class Own(pl.loggers.CSVLogger):
        def log_hyperparams(self, params: Any, depth: Any = None) -> None:
            super().log_hyperparams(params)

    def calls(self):
        first, second = self.loggers
        with pytest.raises(TypeError):
            first.log_hyperparams({"width": 4}, {"hp/loss": 0.5})
        second.log_hyperparams({"seed": 1}, {"deep": 3})

    stored, run = recorded(database, [pl.loggers.CSVLogger("csv"), Own("own")], calls)
    assert handed(stored) == Counter()
    assert run.errors == {}
    assert {"width": "4", "seed": "1"}.items() <= stored.params.items()


def test_names_have_no_prefix_of_a_logger(database):
    """However many loggers there are, and whatever each calls a metric in its own store."""

    def calls(self):
        for one in self.loggers:
            one.log_metrics({"by hand": 0.5}, 3)
        self.logger.log_hyperparams({"width": 4}, {"hp/loss": 0.25})

    loggers = [pl.loggers.TensorBoardLogger("tensorboard", prefix="a"), pl.loggers.CSVLogger("csv", prefix="b")]
    monitor = pl.callbacks.LearningRateMonitor()
    with tracelet.start_logging() as run:
        module = scheduled(pl)
        type(module).on_train_start = calls
        trainer = Training({"max_epochs": 1, "callbacks": [monitor]}, module=lambda _: module)
        trainer(pl, loggers)
    points = Counter((name, step) for name, step, *_ in stored_run(database).points)
    theirs = Counter(
        (name.removeprefix("a-"), step)
        for name, step, _ in in_tensorboard(loggers[0].log_dir).elements()
        if name != f"a-{semconv.HP_METRIC}"
    )
    assert points == theirs
    assert {"by hand", "hp/loss", "lr-SGD", "train/loss_step", "val/loss"} <= {name for name, _ in points}
    with Path(loggers[1].log_dir, "metrics.csv").open() as file:
        columns = {name for row in csv.DictReader(file) for name, value in row.items() if value}
    assert {"b-by hand", "b-lr-SGD", "b-val/loss"} <= columns
    assert run.errors == {}


def test_a_second_fit_hands_its_metrics_of_hyperparameters_again(database):
    def calls(self):
        self.logger.log_hyperparams({"width": 4}, {"hp/loss": 0.5})

    def fits(trainer, module):
        trainer.fit(module, loader())
        trainer.fit_loop.max_epochs = 2
        trainer.fit(module, loader())

    logger = pl.loggers.TensorBoardLogger("tensorboard", default_hp_metric=False)
    with tracelet.start_logging():
        Training({"max_epochs": 1}, module=lambda pl: regression(pl, on_train_start=calls), run=fits)(pl, logger)
    of_hyperparams = Counter({p: n for p, n in in_tensorboard(logger.log_dir).items() if p[0] == "hp/loss"})
    assert handed(stored_run(database)) == of_hyperparams == Counter({("hp/loss", 0, 0.5): 2})
