"""What the wrappers around Lightning's functions call. Errors are caught and reported here.

The wrapper of the logger connector calls `Rows.take` itself: one more call at each step would cost noticeable time.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.hparams import Hyperparameters
from tracelet_otel.instrumentation.lightning.lifecycle import Lifecycle
from tracelet_otel.instrumentation.lightning.rows import Rows
from tracelet_otel.instrumentation.signals import Signals
from tracelet_otel.instrumentation.timing.timing import Timing


@dataclass(frozen=True)
class Hooks:
    """Functions that the wrappers call. No exception leaves them, so none reaches the code that called Lightning."""

    rows: Rows
    lifecycle: Lifecycle
    hparams: Hyperparameters
    guard: Guard
    timing: Timing | None

    @classmethod
    def of(cls, signals: Signals) -> Hooks:
        """The hooks that report to signals."""
        lifecycle = Lifecycle(signals)
        return cls(Rows(signals, lifecycle), lifecycle, signals.hparams, signals.guard, signals.timing)

    def fetching(self) -> AbstractContextManager[Any]:
        """What to do it in when a loop begins to fetch batches; its time is that of the phase `data_wait`."""
        return nullcontext() if self.timing is None else self.timing.actions.fetching

    def logging(self, logger: Any = None) -> AbstractContextManager[Any]:
        """What to do it in when a row is handed to a logger, or to all; its time is that of the phase `logging`."""
        return nullcontext() if self.timing is None else self.timing.actions.logging(logger)

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

    def enter(self, trainer: Any, prepare: Callable[[Any], None], function: str) -> bool:
        """A trainer starts.

        Args:
            trainer: the trainer.
            prepare: called with the trainer first.
            function: which of its functions was called.

        Returns:
            Whether `leave` is to be called at its end.
        """
        try:
            prepare(trainer)
            return self.lifecycle.enter(trainer, function)
        except Exception as error:
            self.guard.report("the start of a training was not seen", error)
            self.lifecycle.forget_start(trainer)
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
