"""What the wrappers around Lightning's functions call, with the one guard around each.

Rows of the logger connector go to `Rows.take` itself: there a call more at each step would be felt.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.hparams import Hyperparameters
from tracelet_otel.instrumentation.lightning.lifecycle import Lifecycle
from tracelet_otel.instrumentation.lightning.rows import Rows


@dataclass(frozen=True)
class Hooks:
    """Nothing raised in here reaches who called Lightning."""

    rows: Rows
    lifecycle: Lifecycle
    hparams: Hyperparameters
    guard: Guard

    def take_logged_row(
        self, log_metrics: Callable[..., Any], logger: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Somebody handed a row to one logger; see `Rows.take_logged`."""
        try:
            # A user's logger may name and order its arguments as it likes.
            given = inspect.signature(log_metrics).bind(logger, *args, **kwargs).arguments if args else kwargs
            # One that takes whatever it is given is called as Lightning calls all of them: metrics, then step.
            metrics = given.get("metrics", args[0] if args else kwargs.get("metrics"))
            step = given.get("step", args[1] if len(args) > 1 else kwargs.get("step"))
            trainer = self.lifecycle.trainer_of(logger)
            if trainer is not None and metrics and not self.lifecycle.is_silent(trainer):
                self.rows.take_logged(trainer, logger, metrics, step)
        except Exception as error:
            self.guard.report("a row of metrics could not be taken from a logger", error)

    def take_hyperparams(self, logger: Any, params: Any) -> None:
        """Somebody handed hyperparameters to one logger."""
        try:
            trainer = self.lifecycle.trainer_of(logger)
            if trainer is not None and params is not None and not self.lifecycle.is_silent(trainer):
                self.hparams.update(params)
        except Exception as error:
            self.guard.report("hyperparameters could not be taken from a logger", error)

    def enter(self, trainer: Any, prepare: Callable[[Any], None], *, logs: bool) -> bool:
        """A trainer starts; see `Lifecycle.enter`.

        Args:
            trainer: the trainer.
            prepare: called with the trainer first.
            logs: whether what it does now logs anything.
        """
        try:
            prepare(trainer)
            return self.lifecycle.enter(trainer, logs=logs)
        except Exception as error:
            self.guard.report("the start of a training was not seen", error)
            self.lifecycle.forget_start()
            return False

    def enter_copy(self, trainer: Any, callback: Any, prepare: Callable[[Any], None]) -> None:
        """A trainer goes on in this process; see `Lifecycle.enter_copy`."""
        try:
            prepare(trainer)
            self.lifecycle.enter_copy(trainer, callback)
        except Exception as error:
            self.guard.report("the start of a training was not seen", error)

    def leave(self, trainer: Any, raised: BaseException | None) -> None:
        """A trainer ends; see `Lifecycle.leave`."""
        try:
            self.lifecycle.leave(trainer, raised)
        except Exception as error:
            self.guard.report("the end of a training was not seen", error)
