"""What we record of a training equals what Lightning's own loggers record of it, in each tracker."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tracelet_otel as tracelet
from tests.integration.conftest import IN_PROCESS
from tests.support.clearml_files import session
from tests.support.mlflow_store import StoredRun, stored_run, stored_runs
from tests.support.recording import recording_logger
from tests.support.trainings import (
    NAMESPACES,
    TRAININGS,
    Training,
    digits,
    logging_to_the_logger,
    namespace,
)
from tests.support.waiting import wait_until
from tests.support.wandb_files import OfflineRun, offline_files, offline_run

STEP = "trainer/global_step"
BACKENDS = ("mlflow", "wandb", "clearml")
OFTEN = {"export_interval": 0.05}
BY_HAND = "logged to the logger itself"
"""What it logs differs from logger to logger: each has to be compared alone."""
FEW = ("one validation loader", BY_HAND)
SOME = ("two validation loaders, every 7th step", "second fit", "torchmetrics objects", "learning rate monitor")
"""Trainings that differ most in what arrives at loggers; the others are left to `make test-all`."""

Rows = Iterable[tuple[dict[str, float], "int | None"]]
Points = Counter[tuple[str, "int | None", float]]


def some(names: Iterable[str]) -> pytest.MarkDecorator:
    slow = [pytest.param(name, marks=() if name in SOME else pytest.mark.slow) for name in names]
    return pytest.mark.parametrize("name", slow)


def in_mlflow(rows: Rows) -> Points:
    """Each value; without a step, at step 0."""
    return Counter((name, step or 0, value) for values, step in rows for name, value in values.items())


def in_wandb(rows: Rows) -> Points:
    """Each value; without a step, at that of the row before."""
    points: Points = Counter()
    last = 0
    for values, step in rows:
        last = last if step is None else step
        points.update((name, last, value) for name, value in values.items())
    return points


def in_clearml(rows: Rows) -> dict[tuple[str, str, int], float]:
    """The last value of each step, under title and series."""
    last = {}
    for values, step in rows:
        for name, value in values.items():
            *title, series = name.split("/")
            last["_".join(title) or name, series, step or 0] = value
    return last


def mlflow_points(stored: StoredRun) -> Points:
    return Counter((name, step, value) for name, step, value, _ in stored.points)


def wandb_points(rows: Iterable[Mapping[str, Any]]) -> Points:
    return Counter(
        (name, row.get(STEP), float(value))
        for row in rows
        for name, value in row.items()
        if name != STEP and not name.startswith("_")
    )


def ended_run(directory: Path, run_id: str = "*") -> OfflineRun:
    """The only run below a directory; where another `wandb.init` has finished it, it goes on in a second file."""
    paths = [path for path in offline_files(directory, run_id) if not path.parent.is_symlink()]
    wait_until(lambda: all(offline_run(path).exit_code is not None for path in paths), 10, "the end of the files")
    *earlier, run = [offline_run(path) for path in paths]
    assert {one.run_id for one in earlier} <= {run.run_id}
    config = {name: value for one in (*earlier, run) for name, value in one.config.items()}
    return replace(run, rows=[row for one in (*earlier, run) for row in one.rows], config=config)


@pytest.fixture
def other_database(tmp_path: Path, migrated_database: Path) -> Path:
    """For somebody else's run."""
    return Path(shutil.copy(migrated_database, tmp_path / "other.db"))


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")


def mlflow_logger(pl: Any, database: Path) -> Any:
    return pl.loggers.MLFlowLogger("native", tracking_uri=f"sqlite:///{database}")


def wandb_logger(pl: Any, directory: Path) -> Any:
    return pl.loggers.WandbLogger("native", save_dir=directory, offline=True, project="native")


@some(name for name in TRAININGS if name != BY_HAND)
def test_each_tracker_has_what_lightnings_own_logger_has(name, tmp_path, database, other_database):
    pl, training = namespace("lightning.pytorch"), TRAININGS[name]
    recording, native = recording_logger(pl), wandb_logger(pl, tmp_path / "native")
    run = tracelet.start_logging("all", "all of them", BACKENDS, config=OFTEN)
    training(pl, [mlflow_logger(pl, other_database), native, recording])
    native.experiment.finish()
    tracelet.stop_logging()
    assert run.errors == {}
    assert {name: account.pending for name, account in run.accounts.items()} == dict.fromkeys(BACKENDS, 0)
    assert recording.rows, "the logger saw nothing: the test would compare nothing"

    stored = stored_run(database)
    assert (stored.name, stored.experiment, stored.status) == ("all", "all of them", "FINISHED")
    assert mlflow_points(stored) == in_mlflow(recording.rows)
    assert stored.multiset == stored_run(other_database).multiset

    wandb, theirs = ended_run(tmp_path / "wandb", run.id), ended_run(tmp_path / "native")
    assert (wandb.project, wandb.name, wandb.exit_code) == ("all of them", "all", 0)
    assert wandb_points(wandb.rows) == in_wandb(recording.rows) == wandb_points(theirs.rows)

    task = session(tmp_path / "clearml" / "offline" / f"offline-{run.id}.zip")
    assert (task.project, task.name, task.tags) == ("all of them", "all", ["outcome: finished"])
    assert {place: value for place, (value, _) in task.points.items()} == in_clearml(recording.rows)


@IN_PROCESS
@some(name for name, training in TRAININGS.items() if not training.needs_logger)
def test_without_a_logger_the_same_is_recorded(name, database):
    pl, training = namespace("lightning.pytorch"), TRAININGS[name]
    recording = recording_logger(pl)
    training(pl, recording)
    with tracelet.start_logging(config=OFTEN) as run:
        training(pl, False)
    assert run.errors == {}
    assert mlflow_points(stored_run(database)) == in_mlflow(recording.rows)


@pytest.mark.parametrize("package", NAMESPACES)
@pytest.mark.parametrize("name", FEW)
def test_same_as_mlflow_logger_alone(name, package, database, other_database):
    pl, training = namespace(package), TRAININGS[name]
    with tracelet.start_logging(config=OFTEN) as run:
        training(pl, mlflow_logger(pl, other_database))
    assert run.errors == {}
    assert stored_run(database).multiset == stored_run(other_database).multiset != Counter()


@IN_PROCESS
@pytest.mark.parametrize("package", NAMESPACES)
def test_same_as_the_first_of_several_loggers(package, database, other_database):
    pl = namespace(package)
    loggers = [mlflow_logger(pl, other_database), pl.loggers.CSVLogger("csv"), pl.loggers.TensorBoardLogger("tb")]
    with tracelet.start_logging(config=OFTEN) as run:
        TRAININGS[BY_HAND](pl, loggers)
    assert run.errors == {}
    assert stored_run(database).multiset == stored_run(other_database).multiset != Counter()


@pytest.mark.parametrize("name", FEW)
def test_same_as_wandb_logger_alone(name, tmp_path):
    pl, native = namespace("lightning.pytorch"), wandb_logger(namespace("lightning.pytorch"), tmp_path / "native")
    run = tracelet.start_logging("ours", "ours", "wandb", config=OFTEN)
    TRAININGS[name](pl, native)
    native.experiment.finish()
    tracelet.stop_logging()
    assert run.errors == {}
    ours, theirs = ended_run(tmp_path / "wandb", run.id), ended_run(tmp_path / "native")
    assert wandb_points(ours.rows) == wandb_points(theirs.rows) != Counter()
    assert ours.axes == theirs.axes != set()


@pytest.mark.slow
@IN_PROCESS
def test_two_trackers_in_the_process(tmp_path, database):
    pl = namespace("lightning.pytorch")
    recording = recording_logger(pl)
    with tracelet.start_logging("all", "all of them", ["mlflow", "clearml"], config=OFTEN) as run:
        TRAININGS["one validation loader"](pl, recording)
    assert run.errors == {}
    assert mlflow_points(stored_run(database)) == in_mlflow(recording.rows)
    task = session(tmp_path / "clearml" / "offline" / f"offline-{run.id}.zip")
    assert {place: value for place, (value, _) in task.points.items()} == in_clearml(recording.rows)


@pytest.mark.slow
def test_the_demo(database, other_database):
    pl = namespace("lightning.pytorch")
    with tracelet.start_logging(config=OFTEN) as run:
        digits()(pl, mlflow_logger(pl, other_database))
    assert run.errors == {}
    assert stored_run(database).multiset == stored_run(other_database).multiset != Counter()


@IN_PROCESS
@pytest.mark.parametrize("with_logger", [True, False])
def test_fast_dev_run_is_silent_as_lightning_makes_all_loggers(with_logger, database, other_database):
    pl = namespace("lightning.pytorch")
    training = Training({"fast_dev_run": True}, module=logging_to_the_logger if with_logger else Training().module)
    with tracelet.start_logging() as run:
        training(pl, mlflow_logger(pl, other_database) if with_logger else False)
    assert run.errors == {}
    assert stored_run(database).points == []
    assert stored_runs(other_database) == []


def test_times_are_those_of_logging(database, other_database):
    pl = namespace("lightning.pytorch")
    # Exported once, at the end: the time of export would be seconds off.
    with tracelet.start_logging(config={"export_interval": 3600}):
        Training()(pl, mlflow_logger(pl, other_database))

    def times(path: Path) -> list[tuple[str, int, int]]:
        return sorted((name, step, timestamp) for name, step, _, timestamp in stored_run(path).points)

    # Lightning's logger takes its time just before it writes to its database, we just after.
    for (name, step, theirs), (our_name, our_step, mine) in zip(times(other_database), times(database), strict=True):
        assert (our_name, our_step) == (name, step)
        assert 0 <= mine - theirs < 1000


def test_hyperparameters_are_those_of_wandb_logger(tmp_path):
    pl = namespace("lightning.pytorch")

    def module(pl: Any) -> Any:
        made = TRAININGS["one validation loader"].module(pl)
        made.save_hyperparameters({"lr": 0.1, "layers": 3, "bias": True, "optimizer": {"name": "sgd", "momentum": 0.9}})
        return made

    native = wandb_logger(pl, tmp_path / "native")
    run = tracelet.start_logging("ours", "ours", "wandb")
    Training(module=module)(pl, native)
    native.experiment.finish()
    tracelet.stop_logging()
    assert run.errors == {}
    theirs, ours = ended_run(tmp_path / "native"), ended_run(tmp_path / "wandb", run.id)
    assert theirs.config["optimizer"] == {"name": "sgd", "momentum": 0.9}
    assert {name: ours.config[name] for name in theirs.config} == theirs.config
    assert ours.config["lightning"]["trainer"]["max_epochs"] == 2
    assert ours.config["otel"]["tracelet.run.id"] == run.id
