"""One training with one way to log, measured in its own process; `overhead` runs it.

    python -m benchmarks.training '{"case": "CSVLogger", "metrics": 5, "rows": 500, "home": "/tmp/x", ...}'

Prints what it cost as a line of JSON.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")
# Before anything is imported that reads it.
os.environ.update({"WANDB_MODE": "offline", "WANDB_SILENT": "true", "MLFLOW_DISABLE_TELEMETRY": "true"})

import lightning.pytorch as pl  # noqa: E402
import psutil  # noqa: E402
import torch  # noqa: E402
from lightning.pytorch.loggers import CSVLogger, MLFlowLogger, TensorBoardLogger, WandbLogger  # noqa: E402
from lightning.pytorch.loggers.logger import DummyLogger  # noqa: E402
from lightning.pytorch.trainer.connectors.logger_connector.logger_connector import _LoggerConnector  # noqa: E402

_WARM_UP_ROWS = 50


class Module(pl.LightningModule):
    """Logs a row of metrics that are there already: what is measured is logging."""

    def __init__(self, metrics: int) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)
        self.values = {f"metric_{number}": torch.tensor(float(number)) for number in range(metrics)}

    def training_step(self, batch: Any) -> Any:
        self.log_dict(self.values)
        return self.layer(batch[0]).square().mean()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.01)


def measured(rows_ns: list[int]) -> None:
    """Measure each row, from Lightning's call of its logger connector to its return, hooks included."""
    log_metrics = _LoggerConnector.log_metrics

    def timed(connector: Any, *args: Any, **kwargs: Any) -> Any:
        began_ns = time.perf_counter_ns()
        try:
            return log_metrics(connector, *args, **kwargs)
        finally:
            rows_ns.append(time.perf_counter_ns() - began_ns)

    _LoggerConnector.log_metrics = timed


def start(case: str, home: Path, order: dict[str, Any]) -> tuple[Any, Callable[[], None]]:
    """What a user does before the training for this way to log; returns the logger, and what ends it."""
    if case.startswith("ours"):
        import tracelet_otel as tracelet

        backends = {"ours: mlflow": "mlflow", "ours: three trackers": "mlflow,wandb,clearml", "ours: otlp": "otlp"}
        if case == "ours: otlp":
            os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = order["collector"]
        tracelet.start_logging("bench", backend=backends[case])
        return False, tracelet.stop_logging
    makers: dict[str, Callable[[], Any]] = {
        "no logger": lambda: False,
        "do-nothing logger": DummyLogger,
        "CSVLogger": lambda: CSVLogger(home),
        "TensorBoardLogger": lambda: TensorBoardLogger(home),
        "MLFlowLogger, SQLite": lambda: MLFlowLogger("bench", tracking_uri=f"sqlite:///{home}/mlflow.db"),
        "MLFlowLogger, server": lambda: MLFlowLogger("bench", tracking_uri=order["server"]),
        "WandbLogger, offline": lambda: WandbLogger("bench", save_dir=home, offline=True),
    }
    logger = makers[case]()
    # The run is created by its first use.
    _ = getattr(logger, "experiment", None)
    return logger, lambda: logger.experiment.finish() if case.startswith("Wandb") else None


def prepared(rows: int, logger: Any) -> tuple[pl.Trainer, Any]:
    """A trainer that logs each row, and its data."""
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(rows, 4)), batch_size=1)
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", logger=logger, log_every_n_steps=1, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    return trainer, data


def others_cpu_s() -> float:
    """Processor time of all processes that this one has started, those that have ended included."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    # With those that a child has waited for itself.
    return ended.ru_utime + ended.ru_stime + sum(sum(one.cpu_times()[:4]) for one in others())


def others() -> list[psutil.Process]:
    """Processes that this one has started, and that live."""
    return psutil.Process().children(recursive=True)


def main() -> None:
    """Train, and print what it cost."""
    order = json.loads(sys.argv[1])
    home = Path(order["home"])
    os.chdir(home)
    torch.set_num_threads(1)
    rows = order["rows"]
    began_s = time.perf_counter()
    logger, stop = start(order["case"], home, order)
    start_s = time.perf_counter() - began_s
    rows_ns: list[int] = []
    measured(rows_ns)
    trainer, data = prepared(rows, logger)
    cpu_s, main_s, others_s = time.process_time(), time.thread_time(), others_cpu_s()
    trainer.fit(Module(order["metrics"]), data)
    others_rss_bytes = sum(one.memory_info().rss for one in others())
    # What this thread does after it counts as the other threads' does: it ends what they have begun.
    main_s = time.thread_time() - main_s
    began_s = time.perf_counter()
    stop()
    stop_s = time.perf_counter() - began_s
    cpu_s = time.process_time() - cpu_s
    others_s = others_cpu_s() - others_s
    of_rows = sorted(rows_ns[_WARM_UP_ROWS:])
    print(
        json.dumps(
            {
                "row_us": sum(of_rows) / len(of_rows) / 1e3,
                "row_median_us": of_rows[len(of_rows) // 2] / 1e3,
                "row_p99_us": of_rows[len(of_rows) * 99 // 100] / 1e3,
                "rows": len(rows_ns),
                "cpu_us_per_row": cpu_s / rows * 1e6,
                "other_threads_and_end_us_per_row": (cpu_s - main_s) / rows * 1e6,
                "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "other_processes_us_per_row": others_s / rows * 1e6,
                "other_processes_rss_mib": others_rss_bytes / 2**20,
                "start_s": start_s,
                "stop_s": stop_s,
            }
        )
    )


if __name__ == "__main__":
    main()
