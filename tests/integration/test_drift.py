"""A private name of Lightning's that is not what we know is said at once, and never ends in a run without values."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import tracelet_otel as tracelet
from tests.support.mlflow_store import stored_run, stored_runs
from tests.support.trainings import Training, namespace
from tracelet_otel._support.private_names import COMMAND_LINE, FABRIC, LIGHTNING, Library, PrivateName, check_package
from tracelet_otel.instrumentation.lightning import LightningInstrumentor

LIBRARIES = (LIGHTNING, FABRIC, COMMAND_LINE)
ROW = next(one for one in LIGHTNING.names if one.name == "_LoggerConnector.log_metrics")


def rename(monkeypatch: pytest.MonkeyPatch, package: str, private: PrivateName) -> str:
    """Have Lightning use another name; returns how the missing one is called."""
    place = f"{package}.{private.module}".rstrip(".")
    module = sys.modules[place]
    *outer, last = private.name.split(".")
    owner = getattr(module, outer[0]) if outer else module
    if private.sets:
        # As if Lightning's own function set nothing.
        real = inspect.unwrap(getattr(owner, last))
        monkeypatch.setattr(real, "__code__", real.__code__.replace(co_names=()))
        return f"{place}.{outer[0]}.{private.sets[0]}"
    if last in getattr(owner, "__annotations__", {}):
        monkeypatch.delitem(owner.__annotations__, last)
    if last in vars(owner):
        monkeypatch.delattr(owner, last)
    return f"{place}.{private.name}"


@pytest.mark.parametrize(
    ("library", "package"), [(library, package) for library in LIBRARIES for package in library.packages]
)
def test_lightning_has_all_names(library: Library, package: str) -> None:
    namespace(package)
    check_package(library, package)


@pytest.mark.parametrize(
    ("library", "private"),
    [(library, private) for library in LIBRARIES for private in library.names],
    ids=lambda one: f"{one.name}{' '.join(('', *one.sets))}" if isinstance(one, PrivateName) else "",
)
def test_a_renamed_private_makes_start_logging_raise(
    monkeypatch: pytest.MonkeyPatch, database: Path, library: Library, private: PrivateName
) -> None:
    for package in library.packages:
        namespace(package)
        with monkeypatch.context() as patch:
            missing = rename(patch, package, private)
            with pytest.raises(tracelet.IncompatibleVersionError) as raised:
                tracelet.start_logging()
            assert missing in str(raised.value)
            assert f"Versions {LIGHTNING.oldest} to {LIGHTNING.newest} have what is needed" in str(raised.value)
    assert tracelet.get_active_run() is None
    assert stored_runs(database) == []


def test_who_records_nothing_of_lightning_needs_none_of_it(monkeypatch: pytest.MonkeyPatch, database: Path) -> None:
    namespace("lightning.pytorch")
    rename(monkeypatch, "lightning.pytorch", ROW)
    with tracelet.start_logging(config={"track_lightning": False}) as run:
        run.log_metric("loss", 1.0, 0)
    assert len(stored_run(database).points) == 1


def test_an_instrumentor_that_cannot_raise_says_it_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As under `opentelemetry-instrument`: the training goes on."""
    pl = namespace("lightning.pytorch")
    # One without which a training works.
    trial = next(one for one in LIGHTNING.names if one.name == "_LRCallback")
    missing = rename(monkeypatch, "lightning.pytorch", trial)
    LightningInstrumentor().instrument()
    try:
        for _ in range(2):
            Training({"max_epochs": 1})(pl, False)
    finally:
        LightningInstrumentor().uninstrument()
    said = [record.getMessage() for record in caplog.records if missing in record.getMessage()]
    assert len(said) == 1
    assert said[0].startswith("nothing that lightning.pytorch logs is recorded: lightning 2.")


@pytest.mark.slow
@pytest.mark.cold
def test_lightning_that_is_imported_after_the_start_is_looked_at_then(
    run: Callable[..., object], database: Path
) -> None:
    child = run("renamed_later.py")
    assert child.returncode == 0, child.stderr
    assert child.stdout.splitlines()[-1] == "{'nothing that lightning.pytorch logs is recorded': 1}"
    assert "lightning.pytorch.tuner.lr_finder._LRCallback is missing" in child.stderr
