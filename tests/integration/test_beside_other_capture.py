"""Other loggers in the same script: nothing of ours is doubled, and theirs is unchanged."""

from __future__ import annotations

import pytest

import tracelet_otel as tracelet
from tests.integration.conftest import OURS, WHO
from tests.support.mlflow_store import stored_run, stored_runs
from tests.support.trainings import Training, namespace, with_hyperparameters
from tests.support.wandb_files import history

PRELUDE = """
import warnings; warnings.simplefilter("ignore")
import sys
import lightning.pytorch as pl
import tracelet_otel as tracelet
from tests.support.trainings import Training, with_hyperparameters
who = sys.argv[1]

training = Training(module=with_hyperparameters)
def ours(**config):
    if who != "nobody":
        tracelet.start_logging("ours", "ours", backend_url="sqlite:///ours.db", config=config)
"""


@pytest.fixture(autouse=True)
def mode():
    """Each test has both, beside one run of its script without us."""


@pytest.fixture(autouse=True)
def importable(monkeypatch, request):
    monkeypatch.setenv("PYTHONPATH", str(request.config.rootpath))


@pytest.fixture
def run_each(python, tmp_path, migrated_database):
    """Runs a script without us, with us in its process and through a relay.

    Returns:
        The directory in which each has run.
    """

    def run(script: str, relays=WHO):
        homes = []
        for who, relay in relays.items():
            home = tmp_path / who
            home.mkdir()
            for name in ("theirs.db", "ours.db"):
                (home / name).write_bytes(migrated_database.read_bytes())
            child = python(f"import os; os.chdir({str(home)!r})\n{PRELUDE}{script}", who, TRACELET_RELAY=relay)
            assert child.returncode == 0, child.stderr
            homes.append(home)
        return homes

    return run


@pytest.fixture
def alone(database):
    """What we record of that training where nobody else does."""
    with tracelet.start_logging(backend_url=f"sqlite:///{database}", config={"relay": False}) as run:
        Training(module=with_hyperparameters)(namespace("lightning.pytorch"), False)
    assert run.errors == {}
    return stored_run(database)


@pytest.mark.slow
def test_mlflow_logger(run_each, alone):
    without, *beside = run_each(
        """
ours()
training(pl, pl.loggers.MLFlowLogger("theirs", tracking_uri="sqlite:///theirs.db"))
"""
    )
    theirs = stored_run(without / "theirs.db")
    assert theirs.points
    for home in beside:
        same, ours = stored_run(home / "theirs.db"), stored_run(home / "ours.db")
        assert (same.multiset, same.params, same.status) == (theirs.multiset, theirs.params, theirs.status)
        assert ours.multiset == alone.multiset
        assert theirs.params.items() <= ours.params.items()


@pytest.mark.slow
def test_mlflow_autolog(run_each, alone):
    without, *beside = run_each(
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
    theirs = stored_runs(without / "theirs.db")
    assert len(theirs) == 2
    assert theirs[0].points
    for home in beside:
        for one, other in zip(theirs, stored_runs(home / "theirs.db"), strict=True):
            assert (other.multiset, other.params, other.status) == (one.multiset, one.params, one.status)
        assert stored_run(home / "ours.db").multiset == alone.multiset


@pytest.mark.slow
def test_wandb_logger(run_each, alone):
    without, *beside = run_each(
        """
ours()
training(pl, pl.loggers.WandbLogger(project="theirs", offline=True))
"""
    )
    theirs = history(without)
    assert theirs
    for home in beside:
        assert history(home) == theirs
        assert stored_run(home / "ours.db").multiset == alone.multiset


@pytest.mark.slow
def test_both_in_one_mlflow_run_write_each_value_once_each(run_each):
    beside = run_each(
        """
logger = pl.loggers.MLFlowLogger("shared", tracking_uri="sqlite:///ours.db")
ours(run_id=logger.run_id)
training(pl, logger)
tracelet.stop_logging()
""",
        OURS,
    )
    for home in beside:
        stored = stored_run(home / "ours.db")
        # The two writers' points differ in their time only. Of the epoch, which Lightning logs several
        # times at one step, one writer's may have the other's time, and then they are one point.
        assert {count for (name, *_), count in stored.multiset.items() if name != "epoch"} == {2}
        assert (stored.status, stored.params["lr"]) == ("FINISHED", "0.05")
