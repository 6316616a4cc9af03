"""The training whose record is shown: the CNN of `examples/digits.py`, with a schedule, for as long as a chart needs.

    python train.py NAME [--seconds 60] [--learning-rate 2e-3] [--ranks 1] [--diverge]

It is run as a copy named `train.py`, since trackers show the command line. Where it is
recorded is said by the variables of `docs/configuration.md`.
"""

from __future__ import annotations

import argparse
import time
import warnings
from typing import Any

import lightning as L  # noqa: N812 - as everybody writes it
import torch
from digits import DigitsData, DigitsModel

import tracelet_otel as tracelet

NOTES = "A small CNN on scikit-learn's digits. Baseline for the augmentation study."
TAGS = {"team": "vision", "dataset": "digits"}


class Scheduled(DigitsModel):
    """The example's model, which also warms up and logs its learning rate.

    Args:
        learning_rate: the highest one.
        steps: how many there will be, for the schedule.
        pause_s: seconds to wait in each step, so that a training of few steps lasts.
        diverge: whether its loss stops to be finite after half of the steps.
    """

    def __init__(self, learning_rate: float, steps: int, pause_s: float, diverge: bool) -> None:
        super().__init__(learning_rate)
        self.steps, self.pause_s, self.diverge = steps, pause_s, diverge

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        """One step."""
        time.sleep(self.pause_s)
        (schedule,) = [self.lr_schedulers()]
        self.log("lr", schedule.get_last_lr()[0])
        loss: torch.Tensor = super().training_step(batch, batch_idx)
        if self.diverge and self.global_step > self.steps * 0.8:
            loss = loss * float("nan")
        return loss

    def configure_optimizers(self) -> Any:
        """Adam with one cycle of the learning rate."""
        optimizer = torch.optim.Adam(self.parameters(), lr=self.hparams.learning_rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.hparams.learning_rate, self.steps + 1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def main() -> None:
    """Train, and record it."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("name")
    arguments.add_argument("--epochs", type=int, default=15)
    arguments.add_argument("--seconds", type=float, default=30.0)
    arguments.add_argument("--learning-rate", type=float, default=2e-3)
    arguments.add_argument("--ranks", type=int, default=1)
    arguments.add_argument("--diverge", action="store_true")
    told = arguments.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    L.seed_everything(7, verbose=False)
    data = DigitsData(batch_size=32)
    data.setup("fit")
    batches = -(-len(data.train) // (32 * told.ranks))
    steps = told.epochs * batches
    model = Scheduled(told.learning_rate, steps, told.seconds / steps, told.diverge)
    tracelet.start_logging(told.name, "digits", config={"tags": TAGS, "notes": NOTES, "track_git": False})
    trainer = L.Trainer(
        max_epochs=told.epochs,
        accelerator="cpu",
        devices=told.ranks,
        strategy="ddp" if told.ranks > 1 else "auto",
        logger=False,
        log_every_n_steps=5,
        enable_model_summary=False,
        enable_progress_bar=False,
        callbacks=[L.pytorch.callbacks.ModelCheckpoint("checkpoints", monitor="val/loss")],
    )
    trainer.fit(model, data)
    tracelet.stop_logging()


if __name__ == "__main__":
    main()
