"""What we record equals what Lightning's own MLFlowLogger records on the same training."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import tracelet_otel as tracelet
from tests.integration.conftest import IN_PROCESS, THROUGH_A_RELAY
from tests.support.mlflow_store import stored_run, stored_runs
from tests.support.trainings import FEW, NAMESPACES, TRAININGS, Training, digits, logging_to_the_logger, namespace


def native_logger(pl, database: Path):
    return pl.loggers.MLFlowLogger("native", tracking_uri=f"sqlite:///{database}")


def recorded(training: Training, pl, logger, database: Path):
    """Train while we record into a database; returns what it holds."""
    run = tracelet.start_logging("ours", "ours", backend_url=f"sqlite:///{database}", config={"export_interval": 0.05})
    training(pl, logger)
    tracelet.stop_logging()
    assert run.errors == {}
    return stored_run(database)


def databases(tmp_path: Path, migrated_database: Path, *names: str) -> list[Path]:
    return [Path(shutil.copy(migrated_database, tmp_path / f"{name}.db")) for name in names]


def compare(training: Training, pl, tmp_path: Path, migrated_database: Path) -> None:
    native, beside, first, again = databases(tmp_path, migrated_database, "native", "beside", "first", "again")
    ours = recorded(training, pl, native_logger(pl, native), beside)
    expected = stored_run(native)
    assert expected.multiset, "the native logger recorded nothing: the test would compare nothing"
    assert ours.multiset == expected.multiset
    if training.needs_logger:
        loggers = [native_logger(pl, first), pl.loggers.CSVLogger("csv"), pl.loggers.TensorBoardLogger("tensorboard")]
        assert recorded(training, pl, loggers, again).multiset == stored_run(first).multiset
    else:
        assert recorded(training, pl, False, again).multiset == expected.multiset


@IN_PROCESS
@pytest.mark.parametrize("package", NAMESPACES)
@pytest.mark.parametrize("training", TRAININGS.values(), ids=TRAININGS.keys())
def test_same_names_steps_and_values(training, package, tmp_path, migrated_database):
    compare(training, namespace(package), tmp_path, migrated_database)


@pytest.mark.slow
@THROUGH_A_RELAY
@pytest.mark.parametrize("package", NAMESPACES)
@pytest.mark.parametrize("training", [TRAININGS[name] for name in FEW], ids=FEW)
def test_same_through_a_relay(training, package, tmp_path, migrated_database):
    """All trainings go through it in `test_equal_in_all_trackers`."""
    compare(training, namespace(package), tmp_path, migrated_database)


def test_same_names_steps_and_values_on_the_demo(tmp_path, migrated_database):
    compare(digits(), namespace("lightning.pytorch"), tmp_path, migrated_database)


@pytest.mark.parametrize("logger", [True, False])
def test_fast_dev_run_is_silent_as_lightning_makes_all_loggers(logger, tmp_path, migrated_database):
    native, ours = databases(tmp_path, migrated_database, "native", "ours")
    pl = namespace("lightning.pytorch")
    training = Training({"fast_dev_run": True}, module=logging_to_the_logger if logger else Training().module)
    assert recorded(training, pl, native_logger(pl, native) if logger else False, ours).points == []
    assert stored_runs(native) == []


def test_times_are_those_of_logging(tmp_path, migrated_database):
    native, ours = databases(tmp_path, migrated_database, "native", "ours")
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
