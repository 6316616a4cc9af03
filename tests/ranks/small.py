"""What trainings of two steps have in common."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch

from tests.support.quiet import quiet_trainer


class Base(pl.LightningModule):
    """A model that learns nothing of interest."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)


def trainer(**options: Any) -> pl.Trainer:
    """One that writes nothing down."""
    return quiet_trainer(pl, max_steps=2, **options)


def loader() -> torch.utils.data.DataLoader:
    """Four batches."""
    return torch.utils.data.DataLoader(torch.randn(8, 4), batch_size=2)
