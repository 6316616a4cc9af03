"""Trainings on which what we record is compared with what Lightning's own loggers record."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torchmetrics
from torch.utils.data import DataLoader, TensorDataset

from tests.support.quiet import quiet_trainer

NAMESPACES = ("lightning.pytorch", "pytorch_lightning")
EXAMPLES = Path(__file__).parents[2] / "examples"


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

    def predict_step(self: Any, batch: Any, batch_idx: int) -> Any:
        return self.layer(batch[0])

    def configure_optimizers(self: Any) -> Any:
        return torch.optim.SGD(self.parameters(), 0.05)

    methods: dict[str, Any] = {
        "__init__": init,
        "training_step": training_step,
        "validation_step": validation_step,
        "test_step": test_step,
        "predict_step": predict_step,
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
    callbacks: Callable[[ModuleType], list[Any]] = lambda _: []
    needs_logger: bool = False
    """Whether it works with a logger only, or logs what differs from one training to the next."""

    def __call__(self, pl: ModuleType, logger: Any, **more: Any) -> Any:
        """Train from a fixed seed.

        Returns:
            The trainer.
        """
        pl.seed_everything(1, verbose=False)
        options = {"max_epochs": 2, "callbacks": self.callbacks(pl), **self.trainer, **more}
        trainer = quiet_trainer(pl, logger=logger, **options)
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


def two_optimizers(pl: ModuleType) -> Any:
    def init(self: Any) -> None:
        pl.LightningModule.__init__(self)
        self.layer = torch.nn.Linear(4, 1)
        self.automatic_optimization = False

    def training_step(self: Any, batch: Any, batch_idx: int) -> None:
        for number, optimizer in enumerate(self.optimizers()):
            loss = torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1])
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
            self.log(f"loss/{number}", loss, on_step=True, on_epoch=True)

    def configure_optimizers(self: Any) -> Any:
        return [torch.optim.SGD(self.parameters(), 0.01), torch.optim.Adam(self.parameters(), 0.01)]

    return regression(pl, __init__=init, training_step=training_step, configure_optimizers=configure_optimizers)


def with_metric_objects(pl: ModuleType) -> Any:
    def init(self: Any) -> None:
        pl.LightningModule.__init__(self)
        self.layer = torch.nn.Linear(4, 1)
        self.error = torchmetrics.MeanSquaredError()
        self.collection = torchmetrics.MetricCollection([torchmetrics.MeanAbsoluteError()], prefix="val/")

    def training_step(self: Any, batch: Any, batch_idx: int) -> Any:
        predicted = self.layer(batch[0])
        self.error(predicted, batch[1])
        self.log("train/error", self.error, on_step=True, on_epoch=True)
        return torch.nn.functional.mse_loss(predicted, batch[1])

    def validation_step(self: Any, batch: Any, batch_idx: int) -> None:
        self.collection.update(self.layer(batch[0]), batch[1])
        self.log_dict(self.collection)

    return regression(pl, __init__=init, training_step=training_step, validation_step=validation_step)


def logging_hooks(pl: ModuleType) -> list[str]:
    """All hooks in which Lightning allows `self.log`."""
    validator = importlib.import_module(f"{pl.__name__}.trainer.connectors.logger_connector.fx_validator")
    functions = validator._FxValidator.functions
    return [name for name, allowed in functions.items() if allowed is not None and name.startswith("on_")]


def hooks_that_log(pl: ModuleType, prefix: str, owner: type) -> dict[str, Callable[..., Any]]:
    def make(name: str) -> Callable[..., Any]:
        def hook(self: Any, *_: Any) -> None:
            self.log(f"{prefix}/{name}", torch.rand(()))

        return hook

    return {name: make(name) for name in logging_hooks(pl) if hasattr(owner, name)}


def logging_in_every_hook(pl: ModuleType) -> Any:
    return regression(pl, **hooks_that_log(pl, "module", pl.LightningModule))


def logging_callback(pl: ModuleType) -> list[Any]:
    return [type("LoggingCallback", (pl.Callback,), hooks_that_log(pl, "callback", pl.Callback))()]


def logging_to_the_logger(pl: ModuleType) -> Any:
    def on_train_batch_end(self: Any, *_: Any) -> None:
        self.logger.log_metrics({"by hand": self.trainer.global_step / 7}, step=self.trainer.global_step)
        self.logger.log_metrics({"by hand": self.trainer.global_step / 7}, step=self.trainer.global_step)

    def on_train_epoch_end(self: Any) -> None:
        self.logger.log_metrics({"without a step": float(self.current_epoch)})
        for logger in self.loggers:
            logger.log_metrics({"to each": 1 + self.current_epoch / 3}, self.current_epoch)

    return regression(pl, on_train_batch_end=on_train_batch_end, on_train_epoch_end=on_train_epoch_end)


def scheduled(pl: ModuleType) -> Any:
    def configure_optimizers(self: Any) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), 0.05, momentum=0.9)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]

    return regression(pl, configure_optimizers=configure_optimizers)


def with_a_learning_rate(pl: ModuleType) -> Any:
    def init(self: Any) -> None:
        pl.LightningModule.__init__(self)
        self.layer = torch.nn.Linear(4, 1)
        self.lr = 0.1

    def configure_optimizers(self: Any) -> Any:
        return torch.optim.SGD(self.parameters(), self.lr)

    return regression(pl, __init__=init, configure_optimizers=configure_optimizers)


def with_hyperparameters(pl: ModuleType) -> Any:
    made = regression(pl)
    made.save_hyperparameters({"lr": 0.05, "model": {"width": 4}})
    return made


def logging_step_and_epoch(pl: ModuleType) -> Any:
    def training_step(self: Any, batch: Any, batch_idx: int) -> Any:
        loss = torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1])
        self.log_dict({"step": float(self.global_step * 10), "loss": loss})
        self.log("epoch", 0.5 + self.current_epoch)
        return loss

    return regression(pl, training_step=training_step)


def _resume(trainer: Any, module: Any) -> None:
    trainer.fit(module, loader(), loader(16, seed=1))
    trainer.save_checkpoint("resume.ckpt")
    trainer.fit_loop.max_epochs = 4
    trainer.fit(module, loader(), loader(16, seed=1), ckpt_path="resume.ckpt")


def _second_fit(trainer: Any, module: Any) -> None:
    trainer.fit(module, loader(), loader(16, seed=1))
    trainer.fit_loop.max_epochs = 3
    trainer.fit(module, loader(), loader(16, seed=1))


def _before_and_after(trainer: Any, module: Any) -> None:
    trainer.validate(module, loader(16, seed=1), verbose=False)
    trainer.test(module, loader(16, seed=2), verbose=False)
    trainer.fit(module, loader(), loader(16, seed=1))
    trainer.validate(module, loader(16, seed=1), verbose=False)
    trainer.test(module, loader(16, seed=2), verbose=False)
    trainer.predict(module, loader(16, seed=3))


TRAININGS: dict[str, Training] = {
    "one validation loader": Training(),
    "two validation loaders, every 7th step": Training(
        {"log_every_n_steps": 7},
        run=lambda trainer, module: trainer.fit(module, loader(60), [loader(16, seed=1), loader(12, seed=2)]),
    ),
    "accumulation with a remainder": Training(
        {"accumulate_grad_batches": 3},
        run=lambda trainer, module: trainer.fit(module, loader(44), loader(16, seed=1)),
    ),
    "manual optimization with two optimizers": Training(module=two_optimizers),
    "log_every_n_steps=0": Training({"log_every_n_steps": 0}),
    "log_every_n_steps=3": Training({"log_every_n_steps": 3}),
    "val_check_interval": Training({"val_check_interval": 3}),
    "reload_dataloaders_every_n_epochs": Training({"reload_dataloaders_every_n_epochs": 1}),
    "resume from a checkpoint": Training(run=_resume),
    "second fit": Training(run=_second_fit),
    "validate and test before and after fit": Training(run=_before_and_after),
    "torchmetrics objects": Training(module=with_metric_objects),
    "every hook of the module": Training(module=logging_in_every_hook),
    "every hook of a callback": Training(callbacks=logging_callback),
    "step and epoch logged": Training(module=logging_step_and_epoch),
    "learning rate finder": Training(
        module=with_a_learning_rate,
        callbacks=lambda pl: [pl.callbacks.LearningRateFinder(num_training_steps=5)],
    ),
    "learning rate monitor": Training(
        module=scheduled,
        callbacks=lambda pl: [pl.callbacks.LearningRateMonitor(log_momentum=True, log_weight_decay=True)],
        needs_logger=True,
    ),
    "device stats monitor": Training(
        callbacks=lambda pl: [pl.callbacks.DeviceStatsMonitor(cpu_stats=True)], needs_logger=True
    ),
    "logged to the logger itself": Training(module=logging_to_the_logger, needs_logger=True),
}
