"""Other loggers in the same script: nothing of ours is doubled, and theirs is unchanged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import tracelet_otel as tracelet
from tests.integration.conftest import OURS, WHO
from tests.support.mlflow_store import StoredRun, stored_run, stored_runs
from tests.support.trainings import Training, namespace, with_hyperparameters
from tests.support.wandb_files import history


@pytest.fixture
def beside(run: Callable, tmp_path: Path, migrated_database: Path) -> Callable[..., list[Path]]:
    """Runs a training without us, with us in its process and through a relay; returns where each has run."""

    def each(capture: str, relays: Mapping[str, str] = WHO) -> list[Path]:
        homes = []
        for who, relay in relays.items():
            home = tmp_path / who
            home.mkdir()
            for name in ("theirs.db", "ours.db"):
                (home / name).write_bytes(migrated_database.read_bytes())
            child = run("beside_others.py", capture, who, cwd=home, TRACELET_RELAY=relay)
            assert child.returncode == 0, child.stderr
            homes.append(home)
        return homes

    return each


@pytest.fixture
def alone(database: Path) -> StoredRun:
    """What we record of that training where nobody else does."""
    with tracelet.start_logging(backend_url=f"sqlite:///{database}", config={"relay": False}) as run:
        Training(module=with_hyperparameters)(namespace("lightning.pytorch"), False)
    assert run.errors == {}
    return stored_run(database)


@pytest.mark.slow
def test_mlflow_logger(beside, alone):
    without, *with_us = beside("mlflow_logger")
    theirs = stored_run(without / "theirs.db")
    assert theirs.points
    for home in with_us:
        same, ours = stored_run(home / "theirs.db"), stored_run(home / "ours.db")
        assert (same.multiset, same.params, same.status) == (theirs.multiset, theirs.params, theirs.status)
        assert ours.multiset == alone.multiset
        assert theirs.params.items() <= ours.params.items()


@pytest.mark.slow
def test_mlflow_autolog(beside, alone):
    without, *with_us = beside("mlflow_autolog")
    theirs = stored_runs(without / "theirs.db")
    assert len(theirs) == 2
    assert theirs[0].points
    for home in with_us:
        for one, other in zip(theirs, stored_runs(home / "theirs.db"), strict=True):
            assert (other.multiset, other.params, other.status) == (one.multiset, one.params, one.status)
        assert stored_run(home / "ours.db").multiset == alone.multiset


def test_what_others_take_out_is_put_back(beside, alone):
    (home,) = beside("autolog_that_is_turned_off", {"relay": "True"})
    stored = stored_run(home / "ours.db")
    assert stored.params["lightning/trainer/max_epochs"] == "2"
    assert stored.multiset == alone.multiset


@pytest.mark.slow
def test_wandb_logger(beside, alone):
    without, *with_us = beside("wandb_logger")
    theirs = history(without)
    assert theirs
    for home in with_us:
        assert history(home) == theirs
        assert stored_run(home / "ours.db").multiset == alone.multiset


@pytest.mark.slow
def test_both_in_one_mlflow_run_write_each_value_once_each(beside):
    for home in beside("one_run_for_both", OURS):
        stored = stored_run(home / "ours.db")
        # The two writers' points differ in their time only. Of the epoch, which Lightning logs several
        # times at one step, one writer's may have the other's time, and then they are one point.
        assert {count for (name, *_), count in stored.multiset.items() if name != "epoch"} == {2}
        assert (stored.status, stored.params["lr"]) == ("FINISHED", "0.05")
