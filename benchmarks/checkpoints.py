"""What it costs the training thread that checkpoints are recorded, and that they are uploaded.

    python -m benchmarks.checkpoints

A training that saves a checkpoint at each step, and keeps the five best: without us, with each policy of ours, and with
the logger of MLflow that uploads every checkpoint. One after the other, over and over, in one process. A run of ours
has a real relay, which uploads to MLflow on SQLite. Only the time of the save is measured.
"""

from __future__ import annotations

import importlib
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from benchmarks.options import run
from benchmarks.report import show
from benchmarks.results import Results, spread
from tests.support.quiet import quiet_trainer
from torch.utils.data import DataLoader, TensorDataset

import tracelet_otel as tracelet

pl = importlib.import_module("lightning.pytorch")
NOTHING = "without us"
MLFLOW_LOGGER = 'MLFlowLogger(log_model="all")'
POLICIES = ("reference", "top_k", "all")


@dataclass(frozen=True, slots=True)
class Size:
    """How much is done."""

    repetitions: int = 7
    saves: int = 40
    width: int = 1000
    """Of the one layer: a checkpoint has four bytes for each number of its square."""


class Saves(pl.Callback):
    """Saves at each step, and measures how long that takes; what falls out of the last five is removed."""

    def __init__(self, keeper: Any) -> None:
        self.keeper = keeper
        self.took_s: list[float] = []

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Save."""
        began_s = time.perf_counter()
        self.keeper._save_topk_checkpoint(trainer, self.keeper._monitor_candidates(trainer))
        self.took_s.append(time.perf_counter() - began_s)


def module(width: int) -> Any:
    """A module of one layer, whose loss is logged."""

    class Wide(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(width, width)

        def training_step(self, batch: Any, _: int) -> Any:
            loss = self.layer(batch[0]).square().mean()
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.01)

    return Wide()


@contextmanager
def recorded(case: str, home: Path) -> Iterator[Any]:
    """The logger of a training; a run of ours, where it is one of our policies."""
    uri = f"sqlite:///{home}/mlflow.db"
    if case == MLFLOW_LOGGER:
        logger = pl.loggers.MLFlowLogger("theirs", tracking_uri=uri, log_model="all")
        _ = logger.run_id
        yield logger
    elif case == NOTHING:
        yield False
    else:
        config = {"checkpoints": case, "journal_dir": home / "journals", "stop_timeout": 120}
        tracelet.start_logging(case, project="ours", backend="mlflow", backend_url=uri, config=config)
        yield False
        tracelet.stop_logging()


def save_s(case: str, size: Size, home: Path) -> float:
    """Seconds that a save takes: the median of one training."""
    with recorded(case, home) as logger, tempfile.TemporaryDirectory(dir=home) as directory:
        keeper = pl.callbacks.ModelCheckpoint(directory, monitor="loss", save_top_k=5, every_n_train_steps=10**9)
        callback = Saves(keeper)
        trainer = quiet_trainer(
            pl, max_steps=size.saves, log_every_n_steps=1, enable_checkpointing=True, callbacks=[callback, keeper],
            logger=logger, default_root_dir=home,
        )  # fmt: skip
        trainer.fit(module(size.width), DataLoader(TensorDataset(torch.ones(size.saves, size.width)), 1))
        # Uploads go on beside the training, and what they take from it counts.
    return statistics.median(callback.took_s)


def main(size: Size, results: Results) -> None:
    """Run it, print the table, and leave figures."""
    torch.set_num_threads(1)
    cases = (NOTHING, *POLICIES, MLFLOW_LOGGER)
    found: dict[str, list[float]] = {case: [] for case in cases}
    with tempfile.TemporaryDirectory() as home:
        before = Path.cwd()
        os.chdir(home)
        try:
            save_s(NOTHING, Size(1, 2, size.width), Path(home))
            for _ in range(size.repetitions):
                for case in cases:
                    found[case].append(save_s(case, size, Path(home)))
        finally:
            os.chdir(before)
    measured = {case: {"save_ms": spread([1e3 * one for one in took])} for case, took in found.items()}
    results.write("checkpoints", {"repetitions": size.repetitions, "saves": size.saves, "results": measured})
    show(results, "checkpoints")


if __name__ == "__main__":
    run(main, Size(), smallest=Size(repetitions=1, saves=3, width=8))
