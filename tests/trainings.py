"""Trainings on which what we record is compared with what Lightning's own loggers record."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset

NAMESPACES = ("lightning.pytorch", "pytorch_lightning")
EXAMPLES = Path(__file__).parent.parent / "examples"


def namespace(name: str) -> ModuleType:
    return importlib.import_module(name)


def loader(rows: int = 32, batch_size: int = 4, seed: int = 0, **options: Any) -> DataLoader[Any]:
    inputs = torch.randn(rows, 4, generator=torch.Generator().manual_seed(seed))
    return DataLoader(TensorDataset(inputs, inputs.sum(1, keepdim=True)), batch_size=batch_size, **options)


def regression(pl: ModuleType, **overrides: Callable[..., Any]) -> Any:
    """A module that logs in every usual way; methods can be replaced by name."""

    def init(self: Any) -> None:
        pl.LightningModule.__init__(self)
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self: Any, batch: Any, batch_idx: int) -> Any:
        loss = torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1])
        self.log("train/loss", loss, on_step=True, on_epoch=True)
        self.log("train/step_only", loss * 2)
        self.log("train/epoch_only", loss * 3, on_step=False, on_epoch=True, reduce_fx="max")
        if batch_idx == 0:
            self.log("train/first_batch", loss)
        return loss

    def validation_step(self: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        loss = torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1])
        self.log("val/loss", loss)
        self.log("val/each", loss, on_step=True, on_epoch=True)

    def test_step(self: Any, batch: Any, batch_idx: int) -> None:
        self.log("test/loss", torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1]))

    def configure_optimizers(self: Any) -> Any:
        return torch.optim.SGD(self.parameters(), 0.05)

    methods: dict[str, Any] = {
        "__init__": init,
        "training_step": training_step,
        "validation_step": validation_step,
        "test_step": test_step,
        "configure_optimizers": configure_optimizers,
        **overrides,
    }
    return type("Regression", (pl.LightningModule,), methods)()


@dataclass
class Training:
    """One training: what the Trainer is made with, and what is done with it."""

    trainer: dict[str, Any] = field(default_factory=dict)
    module: Callable[[ModuleType], Any] = regression
    run: Callable[[Any, Any], None] = lambda trainer, module: trainer.fit(module, loader(), loader(16, seed=1))

    def __call__(self, pl: ModuleType, logger: Any, **more: Any) -> Any:
        """Train from a fixed seed.

        Returns:
            The trainer.
        """
        pl.seed_everything(1, verbose=False)
        options = {
            "max_epochs": 2,
            "accelerator": "cpu",
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "log_every_n_steps": 1,
            **self.trainer,
            **more,
        }
        trainer = pl.Trainer(logger=logger, **options)
        self.run(trainer, self.module(pl))
        return trainer


def digits() -> Training:
    """The demo's model and data, shortened."""
    import sys

    sys.path.insert(0, str(EXAMPLES))
    try:
        import digits as demo
    finally:
        sys.path.remove(str(EXAMPLES))

    def run(trainer: Any, module: Any) -> None:
        data = demo.DigitsData()
        trainer.fit(module, data)
        trainer.test(module, data, verbose=False)

    return Training({"max_epochs": 2, "log_every_n_steps": 5}, lambda _: demo.DigitsModel(), run)


TRAININGS: dict[str, Training] = {
    "two validation loaders, every 7th step": Training(
        {"log_every_n_steps": 7},
        run=lambda trainer, module: trainer.fit(module, loader(60), [loader(16, seed=1), loader(12, seed=2)]),
    ),
    "gradient accumulation": Training(
        {"accumulate_grad_batches": 3},
        run=lambda trainer, module: trainer.fit(module, loader(44), loader(16, seed=1)),
    ),
}
