"""What we record equals what Lightning's own MLFlowLogger records on the same training."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import tracelet_otel as tracelet
from tests.mlflow_store import stored_run
from tests.trainings import NAMESPACES, TRAININGS, Training, digits, namespace


def native_logger(pl, database: Path):
    return pl.loggers.MLFlowLogger("native", tracking_uri=f"sqlite:///{database}")


def recorded(training: Training, pl, logger, database: Path):
    """Train while we record into a database; returns what it holds."""
    run = tracelet.start_logging("ours", "ours", backend_url=f"sqlite:///{database}", config={"export_interval": 0.05})
    training(pl, logger)
    tracelet.stop_logging()
    assert run.errors == {}
    return stored_run(database)


def compare(training: Training, pl, tmp_path: Path, migrated_database: Path) -> None:
    native, beside, alone = (
        Path(shutil.copy(migrated_database, tmp_path / name)) for name in ("native.db", "beside.db", "alone.db")
    )
    ours = recorded(training, pl, native_logger(pl, native), beside)
    expected = stored_run(native)
    assert expected.multiset, "the native logger recorded nothing: the test would compare nothing"
    assert ours.multiset == expected.multiset
    assert recorded(training, pl, False, alone).multiset == expected.multiset


@pytest.mark.parametrize("package", NAMESPACES)
@pytest.mark.parametrize("training", TRAININGS.values(), ids=TRAININGS.keys())
def test_same_names_steps_and_values(training, package, tmp_path, migrated_database):
    compare(training, namespace(package), tmp_path, migrated_database)


def test_same_names_steps_and_values_on_the_demo(tmp_path, migrated_database):
    compare(digits(), namespace("lightning.pytorch"), tmp_path, migrated_database)


def test_times_are_those_of_logging(tmp_path, migrated_database):
    native, ours = (Path(shutil.copy(migrated_database, tmp_path / name)) for name in ("native.db", "ours.db"))
    pl = namespace("lightning.pytorch")
    # Exported once, at the end: the time of export would be seconds off.
    tracelet.start_logging(backend_url=f"sqlite:///{ours}", config={"export_interval": 3600})
    Training()(pl, native_logger(pl, native))
    tracelet.stop_logging()

    def times(database: Path) -> list[tuple[str, int, int]]:
        return sorted((name, step, timestamp) for name, step, _, timestamp in stored_run(database).points)

    # Lightning's logger takes its time just before it writes to its database, we just after.
    for (name, step, theirs), (our_name, our_step, mine) in zip(times(native), times(ours), strict=True):
        assert (our_name, our_step) == (name, step)
        assert 0 <= mine - theirs < 1000
