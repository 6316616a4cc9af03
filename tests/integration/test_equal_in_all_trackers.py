"""What three trackers have of a training equals what a logger saw, by the table in docs/trackers.md."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

import tracelet_otel as tracelet
from tests.integration.conftest import IN_PROCESS, THROUGH_A_RELAY
from tests.support.clearml_files import session
from tests.support.mlflow_store import stored_run
from tests.support.trainings import FEW, TRAININGS, Training, namespace, recording_logger
from tests.support.waiting import wait_until
from tests.support.wandb_files import offline_files, offline_run

STEP = "trainer/global_step"
ALL = [pytest.param(TRAININGS[name], id=name, marks=() if name in FEW else pytest.mark.slow) for name in TRAININGS]
Points = Counter[tuple[str, "int | None", float]]


def in_mlflow(rows) -> Points:
    """Each value; without a step, at step 0."""
    return Counter((name, step or 0, value) for values, step in rows for name, value in values.items())


def in_wandb(rows) -> Points:
    """Each value; without a step, at that of the row before."""
    points: Points = Counter()
    last = 0
    for values, step in rows:
        last = last if step is None else step
        points.update((name, last, value) for name, value in values.items())
    return points


def in_clearml(rows) -> dict[tuple[str, str, int], float]:
    """The last value of each step, under title and series."""
    last = {}
    for values, step in rows:
        for name, value in values.items():
            *title, series = name.split("/")
            last["_".join(title) or name, series, step or 0] = value
    return last


def wandb_points(rows) -> Points:
    return Counter(
        (name, row.get(STEP), float(value))
        for row in rows
        for name, value in row.items()
        if name != STEP and not name.startswith("_")
    )


def ended_run(directory, run_id="*"):
    """The only run below a directory; where another `wandb.init` has finished it, it goes on in a second file."""
    paths = [path for path in offline_files(directory, run_id) if not path.parent.is_symlink()]
    wait_until(lambda: all(offline_run(path).exit_code is not None for path in paths), 10, "the end of the files")
    *earlier, run = [offline_run(path) for path in paths]
    assert {one.run_id for one in earlier} <= {run.run_id}
    config = {name: value for one in (*earlier, run) for name, value in one.config.items()}
    return replace(run, rows=[row for one in (*earlier, run) for row in one.rows], config=config)


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")


@pytest.mark.parametrize("training", ALL)
def test_each_has_what_a_logger_saw(training, tmp_path, database):
    pl = namespace("lightning.pytorch")
    logger = recording_logger(pl)
    backends = ["mlflow", "wandb", "clearml"]
    run = tracelet.start_logging("all", "all of them", backends, config={"export_interval": 0.05})
    training(pl, logger)
    tracelet.stop_logging()
    assert run.errors == {}
    assert {name: account.pending for name, account in run.accounts.items()} == dict.fromkeys(backends, 0)
    assert logger.rows, "the logger saw nothing: the test would compare nothing"

    assert stored_run(database).status == "FINISHED"
    assert Counter((name, step, value) for name, step, value, _ in stored_run(database).points) == in_mlflow(
        logger.rows
    )

    wandb = ended_run(tmp_path / "wandb", run.id)
    assert (wandb.project, wandb.name, wandb.exit_code) == ("all of them", "all", 0)
    assert wandb_points(wandb.rows) == in_wandb(logger.rows)

    task = session(tmp_path / "clearml" / "offline" / f"offline-{run.id}.zip")
    assert (task.project, task.name, task.tags) == ("all of them", "all", ["outcome: finished"])
    assert {place: value for place, (value, _) in task.points.items()} == in_clearml(logger.rows)


@IN_PROCESS
@pytest.mark.parametrize("training", ALL)
def test_same_columns_and_values_as_lightnings_own_wandb_logger(training, tmp_path):
    compare_with_wandb_logger(training, tmp_path)


@pytest.mark.slow
@THROUGH_A_RELAY
@pytest.mark.parametrize("training", [TRAININGS[name] for name in FEW], ids=FEW)
def test_same_as_wandb_logger_through_a_relay(training, tmp_path):
    compare_with_wandb_logger(training, tmp_path)


def compare_with_wandb_logger(training: Training, tmp_path) -> None:
    pl = namespace("lightning.pytorch")
    native = pl.loggers.WandbLogger("native", save_dir=tmp_path / "native", offline=True, project="native")
    run = tracelet.start_logging("ours", "ours", "wandb", config={"export_interval": 0.05})
    training(pl, native)
    native.experiment.finish()
    tracelet.stop_logging()
    assert run.errors == {}
    theirs, ours = ended_run(tmp_path / "native"), ended_run(tmp_path / "wandb", run.id)
    assert theirs.rows, "the native logger recorded nothing: the test would compare nothing"
    assert wandb_points(ours.rows) == wandb_points(theirs.rows)


def test_hyperparameters_are_those_of_wandb_logger(tmp_path):
    pl = namespace("lightning.pytorch")

    def module(pl):
        made = TRAININGS["one validation loader"].module(pl)
        made.save_hyperparameters({"lr": 0.1, "layers": 3, "bias": True, "optimizer": {"name": "sgd", "momentum": 0.9}})
        return made

    native = pl.loggers.WandbLogger("native", save_dir=tmp_path / "native", offline=True, project="native")
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
