"""What a `LightningCLI` of a test trains: a module with nested arguments, and its data."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

DEFAULTS = {
    "max_epochs": 1,
    "accelerator": "cpu",
    "logger": False,
    "log_every_n_steps": 1,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


class Head:
    """A part of the module."""

    def __init__(self, width: int = 4, api_key: str = "") -> None:
        self.width = width
        self.api_key = api_key


class Net(pl.LightningModule):
    """A module whose argument `batch_size` is linked to that of the data."""

    def __init__(self, head: Head, lr: float = 0.1, batch_size: int = 1, pad_token: int | None = None) -> None:
        super().__init__()
        self.lr = lr
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = (self.layer(batch[0]) ** 2).mean()
        self.log("loss", loss)
        return loss


class Rows(pl.LightningDataModule):
    """Eight rows."""

    def __init__(self, batch_size: int = 2) -> None:
        super().__init__()
        self.batch_size = batch_size

    def train_dataloader(self) -> Any:
        return DataLoader(TensorDataset(torch.ones(8, 4)), batch_size=self.batch_size)


def command_line(cli: ModuleType, args: list[str], *, subclasses: bool = False, **options: Any) -> Any:
    """Make a `LightningCLI`, which trains at once where `run` is not False.

    Args:
        cli: `lightning.pytorch.cli`.
        args: the command line.
        subclasses: whether classes of module and data are named by the command line.
        options: of the `LightningCLI`.
    """

    class Linked(cli.LightningCLI):  # type: ignore[misc, name-defined]
        def add_arguments_to_parser(self, parser: Any) -> None:
            inside = "init_args." if subclasses else ""
            parser.link_arguments(f"data.{inside}batch_size", f"model.{inside}batch_size")

    options = {"seed_everything_default": 1, "trainer_defaults": DEFAULTS, **options}
    if subclasses:
        options.update(subclass_mode_model=True, subclass_mode_data=True)
    return Linked(Net, Rows, args=args, **options)
