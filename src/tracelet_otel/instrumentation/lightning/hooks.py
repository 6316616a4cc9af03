"""What the wrappers around Lightning's functions call. Errors are caught and reported here.

The wrapper of the logger connector calls `Rows.take` itself: one more call at each step would cost noticeable time.
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
    """Functions that the wrappers call. No exception leaves them, so none reaches the code that called Lightning."""

    rows: Rows
    lifecycle: Lifecycle
    hparams: Hyperparameters
    guard: Guard

    def take_logged_row(
        self, log_metrics: Callable[..., Any], logger: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Record a row that was handed to one logger.

        Args:
            log_metrics: the logger's own function.
            logger: the logger.
            args: positional arguments of the call.
            kwargs: keyword arguments of the call.
        """
        try:
            # A user's logger may name and order its arguments as it likes.
            given = inspect.signature(log_metrics).bind(logger, *args, **kwargs).arguments if args else kwargs
            # A function that takes any arguments is called as Lightning calls all loggers: metrics, then step.
            metrics = given.get("metrics", args[0] if args else kwargs.get("metrics"))
            step = given.get("step", args[1] if len(args) > 1 else kwargs.get("step"))
            trainer = self.lifecycle.trainer_of(logger)
            if trainer is not None and metrics and not self.lifecycle.is_silent(trainer):
                self.rows.take_logged(trainer, logger, metrics, step)
        except Exception as error:
            self.guard.report("a row of metrics could not be taken from a logger", error)

    def take_hyperparams(self, logger: Any, params: Any) -> None:
        """Record hyperparameters that were handed to one logger."""
        try:
            trainer = self.lifecycle.trainer_of(logger)
            if trainer is not None and params is not None and not self.lifecycle.is_silent(trainer):
                self.hparams.update(params)
        except Exception as error:
            self.guard.report("hyperparameters could not be taken from a logger", error)

    def enter(self, trainer: Any, prepare: Callable[[Any], None], *, logs: bool) -> bool:
        """A trainer starts.

        Args:
            trainer: the trainer.
            prepare: called with the trainer first.
            logs: whether what it does now logs anything.

        Returns:
            Whether `leave` is to be called at its end.
        """
        try:
            prepare(trainer)
            return self.lifecycle.enter(trainer, logs=logs)
        except Exception as error:
            self.guard.report("the start of a training was not seen", error)
            self.lifecycle.forget_start()
            return False

    def enter_copy(self, trainer: Any, callback: Any, prepare: Callable[[Any], None]) -> None:
        """A trainer continues in this process, which was started for it.

        Args:
            trainer: the copy of a trainer that was entered elsewhere.
            callback: the copy of our callback among those of the trainer.
            prepare: called with the trainer first.
        """
        try:
            prepare(trainer)
            self.lifecycle.enter_copy(trainer, callback)
        except Exception as error:
            self.guard.report("the start of a training was not seen", error)

    def leave(self, trainer: Any, raised: BaseException | None) -> None:
        """A trainer ends, by the exception `raised` or by none."""
        try:
            self.lifecycle.leave(trainer, raised)
        except Exception as error:
            self.guard.report("the end of a training was not seen", error)
