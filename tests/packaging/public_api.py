"""Types that users get of the public API. Nothing here is run: mypy reads it, as a part of `make check`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import tracelet_otel as tracelet
from tracelet_otel.gpu import GpuInstrumentor
from tracelet_otel.instrumentation.lightning import LightningInstrumentor

if sys.version_info >= (3, 11):
    from typing import assert_type
else:
    from typing_extensions import assert_type


def starts(names: Sequence[str], settings: dict[str, int]) -> None:
    assert_type(tracelet.start_logging(), tracelet.Run)
    assert_type(tracelet.start_logging("name", "project", "mlflow", "key", "http://mlflow:5000"), tracelet.Run)
    assert_type(tracelet.start_logging(exp_name=None, backend=("mlflow", "otlp")), tracelet.Run)
    assert_type(tracelet.start_logging(backend=names, config=settings), tracelet.Run)
    assert_type(tracelet.start_logging(config={"export_interval": 5, "journal_dir": Path("/journals")}), tracelet.Run)


def ends() -> None:
    tracelet.stop_logging()
    assert_type(tracelet.get_active_run(), tracelet.Run | None)


def returns_from_a_block() -> str:
    # A block that could swallow an exception would need another return behind it.
    with tracelet.start_logging() as run:
        assert_type(run, tracelet.Run)
        return run.id


def shows(run: tracelet.Run) -> None:
    assert_type(run.id, str)
    assert_type(run.name, str)
    assert_type(run.project, str)
    assert_type(run.urls, dict[str, str])
    assert_type(run.ids, dict[str, str])
    assert_type(run.errors, dict[str, int])
    account = run.accounts["mlflow"]
    assert_type((account.delivered, account.refused, account.pending), tuple[int, int, int])
    assert_type(account.problem, str | None)


def hands_to_lightning(params: dict[str, float]) -> None:
    logger = tracelet.TraceletLogger()
    assert_type(logger, tracelet.TraceletLogger)
    assert_type((logger.name, logger.version, logger.save_dir), tuple[str, str, str | None])
    logger.log_metrics({"score": 0.93})
    logger.log_hyperparams(params, {"score": 0.93}, step=120)
    logger.experiment.log_params(params)
    for_lightning(tracelet.TraceletLogger(save_dir=Path("runs")))


class ForeignLogger:
    """Stands for Lightning's `Logger`, of which mypy knows where a user checks types."""


def for_lightning(logger: ForeignLogger) -> None:
    """Takes a logger as a Trainer does."""


def takes(run: tracelet.Run, params: dict[str, float]) -> None:
    run.log_metric("score", 0.93, step=120)
    run.log_metric("score", 0.93)
    run.log_params(params)
    run.log_params({"lr": 0.1, "model": {"width": 64}})
    run.set_tags({"team": "vision", "baseline": ""})
    run.set_note("as in the paper")
    run.stop()
    run.stop("failed")


def raises() -> tracelet.TraceletError | None:
    try:
        tracelet.start_logging()
    except (tracelet.ConfigurationError, tracelet.MissingDependencyError, tracelet.IncompatibleVersionError) as error:
        return error
    except tracelet.TrackerUnavailableError as error:
        return fails(error)
    return None


def fails(error: tracelet.TrackerError) -> tracelet.TraceletError:
    return error


def instruments() -> None:
    GpuInstrumentor().instrument()
    LightningInstrumentor().instrument()
