"""Other loggers in the same script: nothing of ours is doubled, and theirs is unchanged."""

from __future__ import annotations

import pytest

from tests.mlflow_store import stored_run, stored_runs
from tests.wandb_files import history

PRELUDE = """
import warnings; warnings.simplefilter("ignore")
import sys
import lightning.pytorch as pl
import tracelet_otel as tracelet
from tests.trainings import Training, regression
who = sys.argv[1]

def module(pl):
    made = regression(pl)
    made.save_hyperparameters({"lr": 0.05, "model": {"width": 4}})
    return made

training = Training(module=module)
def ours(**config):
    if who == "ours":
        tracelet.start_logging("ours", "ours", backend_url="sqlite:///ours.db", config=config)
"""


@pytest.fixture(autouse=True)
def importable(monkeypatch, request):
    monkeypatch.setenv("PYTHONPATH", str(request.config.rootpath))


@pytest.fixture
def run_both(python, tmp_path, migrated_database):
    """Runs a script without and with us in directories of their own; returns these."""

    def run(script: str):
        homes = []
        for who in ("nobody", "ours"):
            home = tmp_path / who
            home.mkdir()
            for name in ("theirs.db", "ours.db"):
                (home / name).write_bytes(migrated_database.read_bytes())
            child = python(f"import os; os.chdir({str(home)!r})\n{PRELUDE}{script}", who)
            assert child.returncode == 0, child.stderr
            homes.append(home)
        return homes

    return run


def alone(python, tmp_path, migrated_database):
    home = tmp_path / "alone"
    home.mkdir()
    (home / "ours.db").write_bytes(migrated_database.read_bytes())
    child = python(f"import os; os.chdir({str(home)!r})\n{PRELUDE}ours(); training(pl, False)", "ours")
    assert child.returncode == 0, child.stderr
    return stored_run(home / "ours.db")


@pytest.mark.slow
def test_mlflow_logger(run_both, python, tmp_path, migrated_database):
    without, beside = run_both(
        """
ours()
training(pl, pl.loggers.MLFlowLogger("theirs", tracking_uri="sqlite:///theirs.db"))
"""
    )
    theirs, same = stored_run(without / "theirs.db"), stored_run(beside / "theirs.db")
    assert (same.multiset, same.params, same.status) == (theirs.multiset, theirs.params, theirs.status)
    ours = stored_run(beside / "ours.db")
    assert ours.multiset == alone(python, tmp_path, migrated_database).multiset
    assert theirs.params.items() <= ours.params.items()


@pytest.mark.slow
def test_mlflow_autolog(run_both, python, tmp_path, migrated_database):
    without, beside = run_both(
        """
import mlflow
mlflow.set_tracking_uri("sqlite:///theirs.db")
mlflow.pytorch.autolog(log_models=False, checkpoint=False)
ours()
training(pl, False)
tracelet.stop_logging()
training(pl, False)
"""
    )
    theirs, same = stored_runs(without / "theirs.db"), stored_runs(beside / "theirs.db")
    assert len(theirs) == 2
    assert theirs[0].points
    for one, other in zip(theirs, same, strict=True):
        assert (other.multiset, other.params, other.status) == (one.multiset, one.params, one.status)
    assert stored_run(beside / "ours.db").multiset == alone(python, tmp_path, migrated_database).multiset


@pytest.mark.slow
def test_wandb_logger(run_both, python, tmp_path, migrated_database):
    without, beside = run_both(
        """
ours()
training(pl, pl.loggers.WandbLogger(project="theirs", offline=True))
"""
    )
    theirs = history(without)
    assert theirs
    assert history(beside) == theirs
    assert stored_run(beside / "ours.db").multiset == alone(python, tmp_path, migrated_database).multiset


@pytest.mark.slow
def test_both_in_one_mlflow_run_write_each_value_once_each(run_both):
    _, beside = run_both(
        """
logger = pl.loggers.MLFlowLogger("shared", tracking_uri="sqlite:///ours.db")
ours(run_id=logger.run_id)
training(pl, logger)
tracelet.stop_logging()
"""
    )
    stored = stored_run(beside / "ours.db")
    # The two writers' points differ in their time only. Of the epoch, which Lightning logs several
    # times at one step, one writer's may have the other's time, and then they are one point.
    assert {count for (name, *_), count in stored.multiset.items() if name != "epoch"} == {2}
    assert (stored.status, stored.params["lr"]) == ("FINISHED", "0.05")
