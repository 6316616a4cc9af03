"""Uses of the public API that mypy has to refuse, each with what it says. Nothing here is run."""

from __future__ import annotations

import tracelet_otel as tracelet


def starts() -> None:
    tracelet.start_logging(17)  # refused: arg-type
    tracelet.start_logging(backend=17)  # refused: arg-type
    tracelet.start_logging(backend=["mlflow", 17])  # refused: list-item
    tracelet.start_logging(config=["export_interval"])  # refused: arg-type
    tracelet.start_logging(config={5: "export_interval"})  # refused: dict-item
    tracelet.start_logging(run_name="name")  # refused: call-arg
    tracelet.start_loging()  # refused: attr-defined


def ends() -> None:
    tracelet.stop_logging("failed")  # refused: call-arg
    tracelet.get_active_run().stop()  # refused: union-attr


def takes(run: tracelet.Run) -> None:
    run.log_metric("score")  # refused: call-arg
    run.log_metric("score", 0.93, step="120")  # refused: arg-type
    run.log_metric(120, 0.93, step=120)  # refused: arg-type
    run.log_params(["lr"])  # refused: arg-type
    run.set_tags(["baseline"])  # refused: arg-type
    run.set_tags({"fold": 3})  # refused: dict-item
    run.set_note(None)  # refused: arg-type
    run.stop(3)  # refused: arg-type


def hands_to_lightning() -> None:
    tracelet.TraceletLogger(17)  # refused: arg-type
    tracelet.TraceletLogger("runs").log_metrics(["score"])  # refused: arg-type
    tracelet.TraceletLogger().log_metrics({"score": 0.93}, "120")  # refused: arg-type


def shows(run: tracelet.Run) -> None:
    run.id = "another"  # refused: misc
    run.accounts["mlflow"].delivered = 0  # refused: misc
    run.status.upper()  # refused: attr-defined


def returns(run: tracelet.Run) -> list[object]:
    return [run.log_metric("score", 0.93, step=120)]  # refused: func-returns-value
