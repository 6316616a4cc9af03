"""What we record of a training with Fabric equals what Fabric's own loggers have of it."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from opentelemetry.sdk.metrics import MeterProvider

import tracelet_otel as tracelet
from tests.integration.conftest import IN_PROCESS
from tests.support.fabrics import in_csv, in_tensorboard, quiet_fabric, train
from tests.support.mlflow_files import mlflow_files
from tests.support.mlflow_store import StoredRun, stored_run, stored_runs
from tests.support.trainings import loader, namespace, regression
from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.lightning.instrumentor import LightningInstrumentor
from tracelet_otel.instrumentation.signals import make_signals

OFTEN = {"export_interval": 0.05}
NEVER = 10_000
"""Rows after which a `CSVLogger` writes, and begins to count anew."""


def with_steps(fabric: Any, loss: Any, step: int) -> None:
    fabric.log("loss", loss, step * 10)
    fabric.log_dict({"twice": loss.detach() * 2, "step squared": step * step, "half": torch.tensor(0.5)}, step=step)


def without_steps(fabric: Any, loss: Any, step: int) -> None:
    fabric.log("loss", loss)
    if step % 2:
        fabric.log_dict({"odd": loss * 3, "number": float(step)})


def mixed(fabric: Any, loss: Any, step: int) -> None:
    with_steps(fabric, loss, step)
    without_steps(fabric, loss, step)


def points(run: StoredRun) -> Counter[tuple[str, int, float]]:
    return Counter((name, step, value) for name, step, value, _ in run.points)


def as_32_bits(found: Counter[tuple[str, int, float]]) -> Counter[tuple[str, int, float]]:
    return Counter({(name, step, torch.tensor(value).item()): count for (name, step, value), count in found.items()})


@pytest.fixture(params=["lightning.fabric", pytest.param("lightning_fabric", marks=pytest.mark.slow)])
def fabrics(request: pytest.FixtureRequest) -> ModuleType:
    importlib.import_module(f"{request.param}.loggers")
    return importlib.import_module(request.param)


def csv_logger(fabrics: ModuleType, directory: Path, name: str = "csv") -> Any:
    return fabrics.loggers.CSVLogger(directory / name, flush_logs_every_n_steps=NEVER)


@IN_PROCESS
@pytest.mark.parametrize("log", [with_steps, without_steps, mixed])
def test_each_value_is_there_once_as_csv_logger_has_it(fabrics, tmp_path, database, log: Callable[..., None]):
    logger = csv_logger(fabrics, tmp_path)
    with tracelet.start_logging(config=OFTEN) as run:
        train(quiet_fabric(fabrics, loggers=logger), log)
    assert points(stored_run(database)) == in_csv(logger)
    assert run.errors == {}


@IN_PROCESS
def test_two_loggers_and_none(fabrics, tmp_path, database):
    loggers = [csv_logger(fabrics, tmp_path), fabrics.loggers.TensorBoardLogger(tmp_path / "tensorboard")]
    for chosen in (loggers, []):
        with tracelet.start_logging(config=OFTEN):
            train(quiet_fabric(fabrics, loggers=chosen), with_steps)
    beside, alone = stored_runs(database)
    assert points(beside) == points(alone) == in_csv(loggers[0])
    assert as_32_bits(points(beside)) == in_tensorboard(loggers[1])


@IN_PROCESS
def test_the_run_may_begin_when_the_fabric_is_there_and_has_been_launched(fabrics, tmp_path, database):
    logger = csv_logger(fabrics, tmp_path)
    fabric = quiet_fabric(fabrics, loggers=[logger])
    fabric.launch()
    fabric.log("before", 1.0)
    with tracelet.start_logging(config=OFTEN):
        train(fabric, with_steps)
        fabric.loggers[0].log_metrics({"handed": 4.5}, step=7)
    with tracelet.start_logging(config=OFTEN):
        fabric.log("second", 2.0, 3)
    first, second = stored_runs(database)
    expected = in_csv(logger)
    assert expected.pop(("before", 0, 1.0)) == 1
    assert points(second) == Counter([("second", 3, 2.0)])
    assert points(first) == expected - points(second)


@IN_PROCESS
def test_what_loggers_are_handed_is_there_once(fabrics, tmp_path, database):
    loggers = [csv_logger(fabrics, tmp_path), csv_logger(fabrics, tmp_path, "second")]
    tensorboard = fabrics.loggers.TensorBoardLogger(tmp_path / "tensorboard")

    def log(fabric: Any, loss: Any, step: int) -> None:
        value = loss.detach()
        for logger in fabric.loggers[:2]:
            logger.log_metrics({"to each": value}, step)
        fabric.logger.log_metrics({"to one": step / 3}, step=step)

    with tracelet.start_logging(config=OFTEN) as run:
        fabric = quiet_fabric(fabrics, loggers=[*loggers, tensorboard])
        train(fabric, log)
        tensorboard.log_hyperparams({"width": 4, "nested": {"depth": 2}}, {"score": 0.25}, step=9)
    stored = stored_run(database)
    assert points(stored) == in_csv(loggers[0]) + Counter([("score", 9, 0.25)])
    assert (stored.params["width"], stored.params["nested/depth"]) == ("4", "2")
    assert run.errors == {}


@IN_PROCESS
def test_what_loggers_are_handed_before_anything_else(fabrics, tmp_path, database):
    logger, tensorboard = csv_logger(fabrics, tmp_path), fabrics.loggers.TensorBoardLogger(tmp_path / "tensorboard")
    with tracelet.start_logging(config=OFTEN) as run:
        fabric = quiet_fabric(fabrics, loggers=[logger, tensorboard])
        tensorboard.log_hyperparams({"width": 4})
        fabric.logger.log_metrics({"early": 1.5}, step=3)
        train(fabric, with_steps)
    stored = stored_run(database)
    assert points(stored) == in_csv(logger)
    assert stored.params["width"] == "4"
    assert run.errors == {}


@IN_PROCESS
def test_a_module_that_is_set_up_where_it_is(fabrics, database):
    with tracelet.start_logging(config=OFTEN) as run:
        quiet_fabric(fabrics).setup_module(torch.nn.Linear(4, 1), False)
    assert stored_run(database).params["lightning/model/parameters"] == "5"
    assert run.errors == {}


@IN_PROCESS
@pytest.mark.parametrize("first", ["row", "row of a logger", "optimizer"])
def test_a_training_begins_with_the_first_row_or_optimizer(tmp_path, first: str):
    """Also where the Fabric was used for something else before."""
    fabrics = importlib.import_module("lightning.fabric")
    begun: list[int] = []
    signals = make_signals(MeterProvider(), Guard())
    LightningInstrumentor().take_over(replace(signals, training_begins=lambda: begun.append(1)))
    try:
        fabric = quiet_fabric(fabrics, loggers=csv_logger(fabrics, tmp_path))
        fabric.launch()
        module = fabric.setup_module(torch.nn.Linear(4, 1))
        assert begun == []
        if first == "row":
            fabric.log("loss", 1.0)
        elif first == "optimizer":
            fabric.setup_optimizers(torch.optim.SGD(module.parameters(), 0.1))
        else:
            fabric.logger.log_metrics({"loss": 1.0})
        assert begun == [1]
    finally:
        LightningInstrumentor().uninstrument()


@IN_PROCESS
def test_a_logger_of_both_a_trainer_and_a_fabric(tmp_path, database):
    pl, fabrics = namespace("lightning.pytorch"), importlib.import_module("lightning.fabric")
    logger = pl.loggers.CSVLogger(tmp_path / "csv", flush_logs_every_n_steps=NEVER)
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", logger=logger, log_every_n_steps=1, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    with tracelet.start_logging(config=OFTEN) as run:
        trainer.fit(regression(pl), loader(16), loader(8, seed=1))
        train(quiet_fabric(fabrics, loggers=logger), lambda fabric, loss, step: fabric.log("fabric/loss", loss, step))
        logger.log_metrics({"handed": 1.5}, step=3)
        trainer.fit_loop.max_epochs = 2
        trainer.fit(trainer.lightning_module, loader(16), loader(8, seed=1))
    assert points(stored_run(database)) == in_csv(logger)
    assert run.errors == {}


@IN_PROCESS
def test_our_own_logger(database):
    fabrics = importlib.import_module("lightning.fabric")
    with tracelet.start_logging(config=OFTEN):
        fabric = quiet_fabric(fabrics, loggers=tracelet.TraceletLogger())
        train(fabric, with_steps, 2)
        fabric.logger.log_metrics({"handed": 2.5}, 4)
    stored = points(stored_run(database))
    assert stored["handed", 4, 2.5] == 1
    assert set(stored.values()) == {1}
    assert {name for name, *_ in stored} == {"loss", "twice", "step squared", "half", "handed"}


@IN_PROCESS
def test_a_value_is_what_it_was_when_it_was_logged(database):
    """The user changes tensors in place, as sums of losses are."""
    fabric = quiet_fabric(importlib.import_module("lightning.fabric"))
    total = torch.zeros(())
    with tracelet.start_logging(config={"export_interval": 3600}):
        for step in range(4):
            total += 1
            metrics = {"total": total}
            fabric.log_dict(metrics, step)
            metrics["total"] = torch.tensor(99.0)
    assert points(stored_run(database)) == Counter(("total", step, step + 1.0) for step in range(4))


def nothing() -> None:
    """A function that Fabric cannot launch, since it takes no Fabric."""


def trained(fabrics: ModuleType, directory: Path) -> tuple[Any, ...]:
    """All that a training leaves behind: weights, random state, and what its logger has."""
    logger = csv_logger(fabrics, directory)
    module = train(quiet_fabric(fabrics, loggers=logger), mixed)
    weights = {name: value.tolist() for name, value in module.state_dict().items()}
    return weights, torch.get_rng_state().tolist(), in_csv(logger)


@IN_PROCESS
def test_the_training_is_as_without_us(fabrics, tmp_path, database):
    names = (
        "__init__", "log", "log_dict", "setup", "setup_module", "setup_optimizers", "save", "launch", "_wrap_and_launch"
    )  # fmt: skip
    functions = [vars(fabrics.Fabric)[name] for name in names]
    alone = trained(fabrics, tmp_path / "alone")
    with tracelet.start_logging(config=OFTEN):
        assert trained(fabrics, tmp_path / "beside") == alone
    assert [vars(fabrics.Fabric)[name] for name in names] == functions
    assert "log_metrics" in vars(fabrics.loggers.CSVLogger)


@IN_PROCESS
def test_errors_are_those_of_fabric(fabrics, tmp_path, database):
    class Broken(fabrics.loggers.CSVLogger):
        def log_metrics(self, metrics: Any, step: Any = None) -> None:
            raise OSError("no room")

    def errors() -> list[str]:
        found = []
        broken = quiet_fabric(fabrics, loggers=Broken(tmp_path / "broken"))
        plain = quiet_fabric(fabrics, loggers=csv_logger(fabrics, tmp_path))
        for call in (
            lambda: plain.log("vector", torch.zeros(2)),
            lambda: broken.log("loss", 1.5, 3),
            lambda: plain.log_dict(metrics=5),
            lambda: plain.launch(nothing),
            lambda: plain.setup(5),
        ):
            with pytest.raises(Exception) as raised:  # noqa: PT011
                call()
            found.append(repr(raised.value))
        return found

    alone = errors()
    with tracelet.start_logging(config=OFTEN):
        assert errors() == alone
    # It was logged all the same.
    assert points(stored_run(database)) == Counter([("loss", 3, 1.5)])


@IN_PROCESS
def test_its_configuration_is_there(fabrics, database):
    with tracelet.start_logging(config=OFTEN):
        fabric = quiet_fabric(fabrics, precision="bf16-true")
        first, second = torch.nn.Linear(4, 1), torch.nn.Linear(2, 1, bias=False)
        second.weight.requires_grad_(False)
        fabric.setup(first, torch.optim.SGD(first.parameters(), 0.05))
        module = fabric.setup_module(second)
        fabric.setup_optimizers(torch.optim.Adam(module.parameters(), 0.01))
        fabric.log("loss", 1.0, 0)
    params = stored_run(database).params
    names = ("fabric/strategy", "fabric/precision", "fabric/world_size", "optimizer_0/lr", "optimizer_1/name")
    assert [params[f"lightning/{name}"] for name in names] == ["SingleDeviceStrategy", "bf16-true", "1", "0.05", "Adam"]
    counts = ("model/parameters", "model/trainable_parameters", "model_1/parameters", "model_1/trainable_parameters")
    assert [params[f"lightning/{name}"] for name in counts] == ["5", "5", "2", "0"]


def test_what_it_saves_is_a_checkpoint(tmp_path, database):
    fabrics = importlib.import_module("lightning.fabric")
    with tracelet.start_logging(config={**OFTEN, "checkpoints": "all"}) as run:
        fabric = quiet_fabric(fabrics)
        module = train(fabric, with_steps)
        fabric.save(tmp_path / "kept.ckpt", {"model": module})
    assert run.errors == {}
    (checkpoint,) = mlflow_files(f"sqlite:///{database}", database, run.id).checkpoints.values()
    # What nobody has told of it is not there.
    assert (checkpoint.path, checkpoint.facts) == (str(tmp_path / "kept.ckpt"), {})
    assert checkpoint.content == (tmp_path / "kept.ckpt").read_bytes()


@IN_PROCESS
def test_how_a_training_ended(database):
    fabric = quiet_fabric(importlib.import_module("lightning.fabric"))

    def fails(_: Any) -> None:
        fabric.log("loss", 1.0, 0)
        raise ArithmeticError("diverged")

    with pytest.raises(ArithmeticError), tracelet.start_logging("raised", config=OFTEN):
        fails(fabric)
    with tracelet.start_logging("caught", config=OFTEN), pytest.raises(ArithmeticError):
        fabric.launch(fails)
    with tracelet.start_logging("again", config=OFTEN):
        with pytest.raises(ArithmeticError):
            fabric.launch(fails)
        assert fabric.launch(lambda _: 5) == 5
    with tracelet.start_logging("no function", config=OFTEN):
        fabric.launch()
        train(fabric, with_steps, 2)
    runs = stored_runs(database)
    assert [(run.name, run.status) for run in runs] == [
        ("raised", "FAILED"), ("caught", "FAILED"), ("again", "FINISHED"), ("no function", "FINISHED"),
    ]  # fmt: skip
    assert runs[1].tags["tracelet.exception.type"] == "ArithmeticError"


@IN_PROCESS
def test_a_fabric_that_runs_by_itself(fabrics, tmp_path, database):
    """A user's own `run` is launched as a function is."""

    class Own(fabrics.Fabric):
        def run(self, steps: int, *, fails: bool = False) -> int:
            train(self, with_steps, steps)
            if fails:
                raise ArithmeticError("diverged")
            return steps

    with tracelet.start_logging(config=OFTEN):
        logger = csv_logger(fabrics, tmp_path)
        own = Own(accelerator="cpu", devices=1, loggers=logger)
        assert own.run(3) == 3
        with pytest.raises(ArithmeticError):
            own.run(2, fails=True)
    assert own.run(1) == 1
    stored, written = stored_run(database), in_csv(logger)
    # The last training came after the run.
    last = Counter({point: 1 for point in written if point[1] == 0})
    assert set(points(stored)) == set(written)
    assert sum(written.values()) - sum(points(stored).values()) == len(last)
    assert stored.status == "FAILED"
