"""`TraceletLogger` as the only logger of a trainer, and beside others."""

from __future__ import annotations

import copy
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import tracelet_otel as tracelet
from tests.integration.conftest import IN_PROCESS
from tests.support.mlflow_store import StoredRun, stored_run, stored_runs
from tests.support.recording import recording_logger
from tests.support.trainings import NAMESPACES, TRAININGS, Training, namespace, regression, scheduled

pytestmark = IN_PROCESS
pl = namespace("lightning.pytorch")
ONCE = {"max_epochs": 1, "enable_checkpointing": True}


def points(stored: StoredRun) -> Counter[tuple[str, int, float]]:
    return Counter((name, step, value) for name, step, value, _ in stored.points)


def rows_of(logger: Any) -> Counter[tuple[str, int, float]]:
    return Counter((name, step or 0, value) for row, step in logger.rows for name, value in row.items())


@pytest.mark.parametrize("package", NAMESPACES)
@pytest.mark.parametrize(
    "name",
    [
        "one validation loader",
        "learning rate monitor",
        "logged to the logger itself",
        "validate and test before and after fit",
    ],
)
def test_alone_it_has_what_another_logger_would_have(database, name, package):
    pl, training = namespace(package), TRAININGS[name]
    other = recording_logger(pl)
    training(pl, other)
    with tracelet.start_logging() as run:
        training(pl, tracelet.TraceletLogger())
    assert points(stored_run(database)) == rows_of(other)
    assert run.errors == {}


@pytest.mark.parametrize("is_first", [True, False])
def test_beside_another_logger_nothing_is_there_twice(database, is_first):
    """Neither of Lightning's rows, nor of those that callbacks and users hand to each logger."""

    def on_train_batch_end(self, *_):
        for one in self.loggers:
            one.log_metrics({"to each": self.global_step / 7}, self.global_step)
            one.log_hyperparams({"width": 4})

    with tracelet.start_logging() as run:
        other, ours = recording_logger(pl), tracelet.TraceletLogger()
        module = scheduled(pl)
        type(module).on_train_batch_end = on_train_batch_end
        training = Training(module=lambda _: module, callbacks=lambda pl: [pl.callbacks.LearningRateMonitor()])
        training(pl, [ours, other] if is_first else [other, ours])
    stored = stored_run(database)
    assert points(stored) == rows_of(other)
    # Lightning itself logs the epoch more than once at a step.
    assert {count for (name, *_), count in points(stored).items() if name != "epoch"} == {1}
    assert stored.params["width"] == "4"
    assert run.errors == {}


def test_what_users_hand_to_it_is_recorded_before_a_trainer_has_it_and_within(database):
    def on_train_start(self):
        self.logger.log_hyperparams({"depth": 2}, {"hp/loss": 0.25})
        self.logger.log_metrics({"within": 2.0}, step=4)
        self.logger.experiment.log_metric("by the run", 3.0, 5)

    with tracelet.start_logging() as run:
        logger = tracelet.TraceletLogger()
        assert logger.experiment is run
        logger.log_hyperparams({"model": {"width": 4}}, 0.5, 1)
        logger.log_metrics({"before": 1.0})
        logger.log_metrics({})
        module = regression(pl, on_train_start=on_train_start)
        module.save_hyperparameters({"lr": 0.05})
        Training({"max_epochs": 1}, module=lambda _: module)(pl, logger)
        logger.log_metrics({"after": 4.0}, 9)
    stored = stored_run(database)
    own = [point for point in points(stored).elements() if not point[0].startswith(("train/", "val/", "epoch"))]
    assert sorted(own) == [
        ("after", 9, 4.0),
        ("before", 0, 1.0),
        ("by the run", 5, 3.0),
        ("hp/loss", 0, 0.25),
        ("hp_metric", 1, 0.5),
        ("within", 4, 2.0),
    ]
    assert {"model/width": "4", "depth": "2", "lr": "0.05"}.items() <= stored.params.items()
    # A value that was set twice to the same is no change.
    assert [name for name in stored.tags if name.startswith("tracelet.param.")] == []
    assert run.errors == {}


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
@pytest.mark.parametrize("package", NAMESPACES)
def test_checkpoints_have_a_folder_for_each_run(tmp_path, database, package):
    pl, found = namespace(package), []
    logger = None
    for name in ("first", "second"):
        with tracelet.start_logging(name, "a/b") as run:
            logger = logger or tracelet.TraceletLogger()
            for _ in range(2):
                trainer = Training(ONCE)(pl, logger, default_root_dir=tmp_path / "root")
            assert (logger.name, logger.version, logger.save_dir) == ("a/b", run.id, None)
            path = Path(trainer.checkpoint_callback.best_model_path)
            assert path.parent == tmp_path / "root/a/b" / run.id / "checkpoints"
            # The second trainer's, beside the first one's.
            assert path.stem.endswith("-v1")
            found.append(path.parent)
    assert len(set(found)) == 2
    assert logger.version == run.id


@pytest.mark.parametrize(
    ("project", "folder"),
    [("/Users/me/exp", "Users/me/exp"), ("../../x", "x"), ("/", "Default"), ("päper 1", "päper 1")],
)
def test_no_project_leads_out_of_the_directory(tmp_path, database, project, folder):
    with tracelet.start_logging(project=project) as run:
        logger = tracelet.TraceletLogger(save_dir=tmp_path / "runs")
        trainer = Training({**ONCE, "limit_train_batches": 1})(pl, logger)
    assert (logger.name, logger.save_dir) == (folder, str(tmp_path / "runs"))
    path = Path(trainer.checkpoint_callback.best_model_path)
    assert path.parent == tmp_path / "runs" / folder / run.id / "checkpoints"


def test_without_a_run_it_starts_one_and_says_when_that_has_ended(database, monkeypatch, caplog):
    monkeypatch.setenv("TRACELET_EXP_NAME", "of the environment")
    logger = tracelet.TraceletLogger()
    run = tracelet.get_active_run()
    assert run is not None
    assert tracelet.TraceletLogger().experiment is run is logger.experiment
    Training({"max_epochs": 1})(pl, logger)
    tracelet.stop_logging()
    assert stored_run(database).name == "of the environment"
    count = len(stored_run(database).points)
    caplog.clear()
    Training({"max_epochs": 1})(pl, logger)
    logger.log_hyperparams({"late": 1})
    logger.experiment.log_metric("late", 1.0, 1)
    logger.experiment.set_tags({"late": "1"})
    assert len([record for record in caplog.records if "TraceletLogger" in record.message]) == 1
    assert logger.version == run.id
    assert len(stored_run(database).points) == count
    assert len(stored_runs(database)) == 1


def test_what_is_wrong_shows_when_it_is_made(monkeypatch):
    monkeypatch.setenv("TRACELET_BACKEND", "mlfow")
    with pytest.raises(tracelet.ConfigurationError, match="mlfow"):
        tracelet.TraceletLogger()


def test_nothing_of_lightnings_is_recorded_where_that_is_turned_off(database, caplog):
    with tracelet.start_logging(config={"track_lightning": False}) as run:
        Training({"max_epochs": 1})(pl, tracelet.TraceletLogger())
        run.log_metric("own", 1.0, 1)
    assert points(stored_run(database)) == Counter({("own", 1, 1.0): 1})
    assert "TraceletLogger" not in caplog.text
    assert run.errors == {}


def test_what_cannot_be_recorded_is_said_and_not_raised(database):
    with tracelet.start_logging() as run:
        logger = tracelet.TraceletLogger()
        logger.log_hyperparams(["no mapping"])
        logger.log_metrics(3.0)
        logger.log_metrics({"text": "none", "good": 1.0}, 2)
    assert points(stored_run(database)) == Counter({("good", 2, 1.0): 1})
    assert sum(run.errors.values()) == 3


def test_trials_of_the_tuner_and_fast_dev_runs_are_silent(database):
    with tracelet.start_logging():
        Training({"fast_dev_run": True})(pl, tracelet.TraceletLogger())
    assert points(stored_run(database)) == Counter()


class Own(tracelet.TraceletLogger):
    """A user's own, which counts what it is handed."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.count += 1
        super().log_metrics(metrics, step)


@pytest.mark.parametrize("kind", [tracelet.TraceletLogger, Own])
def test_it_is_a_logger_of_both_packages_and_can_be_copied(database, kind):
    with tracelet.start_logging():
        logger = kind()
    for name in NAMESPACES:
        assert isinstance(logger, namespace(name).loggers.Logger)
        assert issubclass(kind, namespace(name).loggers.Logger)
    for copied in (pickle.loads(pickle.dumps(logger)), copy.deepcopy(logger), copy.copy(logger)):
        assert type(copied) is type(logger)
        assert isinstance(copied, kind)
        assert (copied.name, copied.version) == (logger.name, logger.version)
        assert vars(copied) == vars(logger)


def test_a_class_of_the_users_own_gets_what_every_logger_gets(database):
    other = recording_logger(pl)
    Training({"max_epochs": 1})(pl, other)
    with tracelet.start_logging():
        logger = Own()
        Training({"max_epochs": 1})(pl, logger)
    assert logger.count == len(other.rows)
    assert points(stored_run(database)) == rows_of(other)


@pytest.mark.cold
@pytest.mark.parametrize(
    "loaded", ["pytorch_lightning", *(pytest.param(one, marks=pytest.mark.slow) for one in ("lightning.pytorch", ""))]
)
def test_only_the_package_in_use_is_imported(run, tmp_path, loaded):
    """As under zero code, which needs no run to begin with; where none is in use, the first that is installed."""
    script = tmp_path / "imports.py"
    script.write_text(
        f"""
import sys
import tracelet_otel
from tracelet_otel.instrumentation.lightning import LightningInstrumentor
kind = tracelet_otel.TraceletLogger
assert not {{"torch", "lightning", "pytorch_lightning"}} & set(sys.modules)
{loaded and f"import {loaded}"}
LightningInstrumentor().instrument()
logger = kind()
found = [name for name in {NAMESPACES} if name in sys.modules]
assert all(isinstance(logger, sys.modules[name].loggers.Logger) for name in found)
print(*found)
"""
    )
    child = run(script)
    assert (child.returncode, child.stdout.split()) == (0, [loaded or "lightning.pytorch"]), child.stderr
