"""Reads what a training was configured with from trainer, module and datamodule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard

_TRAINER: Final = (
    "max_epochs",
    "max_steps",
    "min_epochs",
    "min_steps",
    "precision",
    "accumulate_grad_batches",
    "gradient_clip_val",
    "gradient_clip_algorithm",
    "num_nodes",
    "num_devices",
    "world_size",
    "val_check_interval",
    "check_val_every_n_epoch",
    "log_every_n_steps",
)


def configuration(trainer: Any, guard: Guard) -> dict[str, Any]:
    """Hyperparameters by name; what cannot be read is reported and left out.

    What module and datamodule saved with `save_hyperparameters` keeps its names. The trainer's configuration is under
    `lightning/`. Where module and datamodule have the same name, the module's value is taken; Lightning itself refuses
    such a pair.

    Args:
        trainer: the trainer, with its optimizers set up.
        guard: where it is reported what could not be read.
    """
    found: dict[str, Any] = {}
    for read in (_saved_by_datamodule, _saved_by_module, _trainer, _optimizers, _parameters):
        try:
            found.update(read(trainer))
        except Exception as error:
            guard.report(f"{_described(read)} could not be read", error)
    return found


def _saved_by_datamodule(trainer: Any) -> Mapping[str, Any]:
    """Hyperparameters of the datamodule."""
    return _saved(trainer.datamodule)


def _saved_by_module(trainer: Any) -> Mapping[str, Any]:
    """Hyperparameters of the module."""
    return _saved(trainer.lightning_module)


def _saved(owner: Any) -> Mapping[str, Any]:
    # `save_hyperparameters(logger=False)` asks that loggers do not get them.
    if owner is None or not getattr(owner, "_log_hyperparams", False):
        return {}
    # `_class_path` is internal to Lightning's command line.
    return {name: value for name, value in owner.hparams_initial.items() if name != "_class_path"}


def _trainer(trainer: Any) -> Iterator[tuple[str, Any]]:
    """The trainer's configuration."""
    for name in _TRAINER:
        value = getattr(trainer, name, None)
        if value is not None:
            yield f"{semconv.TRAINER_PREFIX}/trainer/{name}", value
    yield f"{semconv.TRAINER_PREFIX}/trainer/strategy", type(trainer.strategy).__name__
    yield f"{semconv.TRAINER_PREFIX}/trainer/accelerator", type(trainer.accelerator).__name__


def _optimizers(trainer: Any) -> Iterator[tuple[str, Any]]:
    """The optimizers' settings."""
    return optimizer_settings(trainer.optimizers)


def optimizer_settings(optimizers: Iterable[Any], first: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield names and settings of optimizers, in their order.

    Args:
        optimizers: the optimizers.
        first: the number that the first of them has.
    """
    for index, optimizer in enumerate(optimizers, first):
        name = f"{semconv.TRAINER_PREFIX}/optimizer_{index}"
        yield f"{name}/name", type(optimizer).__name__
        for setting, value in optimizer.defaults.items():
            yield f"{name}/{setting}", value.item() if hasattr(value, "item") else value


def _parameters(trainer: Any) -> Iterator[tuple[str, Any]]:
    """The model's numbers of parameters."""
    return parameter_counts(trainer.lightning_module)


def parameter_counts(module: Any, number: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield how many parameters a module has.

    Args:
        module: the module.
        number: how many have been counted before.
    """
    # Parameters of lazy modules have no size before the first batch.
    sized = [one for one in module.parameters() if not hasattr(one, "materialize")]
    name = f"{semconv.TRAINER_PREFIX}/model_{number}" if number else f"{semconv.TRAINER_PREFIX}/model"
    yield f"{name}/parameters", sum(one.numel() for one in sized)
    yield f"{name}/trainable_parameters", sum(one.numel() for one in sized if one.requires_grad)


def _described(read: Callable[..., Any]) -> str:
    """What a function reads, for a message: its docstring is part of what users see."""
    return (read.__doc__ or "").rstrip(".").lower()
