"""What the wrappers around Lightning's functions call. Errors are caught and reported here.

The wrapper of the logger connector calls `Rows.take` itself: one more call at each step would cost noticeable time.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from threading import get_ident
from typing import Any

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.hparams import Hyperparameters
from tracelet_otel.instrumentation.lightning.fabric.fabric_hooks import FabricHooks
from tracelet_otel.instrumentation.lightning.fabric.launched import LaunchedFunction
from tracelet_otel.instrumentation.lightning.lifecycle import Lifecycle
from tracelet_otel.instrumentation.lightning.media_calls import MediaCalls
from tracelet_otel.instrumentation.lightning.routes import RunsOfTrainers
from tracelet_otel.instrumentation.lightning.rows import HandingOut, Rows
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
    signals: Signals
    handing_out: HandingOut
    """The threads that are handing a row to loggers."""
    media: MediaCalls
    """Records what loggers are handed beside numbers."""
    fabric: FabricHooks
    """Records what Fabrics log."""
    trainings: RunsOfTrainers | None = None
    """Has a run of its own for each trainer; None: all are recorded in this one."""

    @classmethod
    def of(cls, signals: Signals, handing_out: HandingOut, trainings: RunsOfTrainers | None = None) -> Hooks:
        """The hooks that report to signals.

        Args:
            signals: what they report to.
            handing_out: the threads that are handing a row to loggers.
            trainings: has a run of its own for each trainer; None for nobody.
        """
        lifecycle = Lifecycle(signals)
        rows, media = Rows(signals, lifecycle), MediaCalls(signals, lifecycle)
        fabric = FabricHooks(signals, rows)
        hparams, guard, timing = signals.hparams, signals.guard, signals.timing
        return cls(rows, lifecycle, hparams, guard, timing, signals, handing_out, media, fabric, trainings)

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
            given = _arguments(log_metrics, logger, args, kwargs)
            # A function that takes any arguments is called as Lightning calls all loggers: metrics, then step.
            metrics = given.get("metrics", args[0] if args else kwargs.get("metrics"))
            step = given.get("step", args[1] if len(args) > 1 else kwargs.get("step"))
            trainer = self.lifecycle.trainer_of(logger)
            if trainer is None:
                self.fabric.take_logged(logger, metrics, step)
            elif metrics and not self.lifecycle.is_silent(trainer):
                self.rows.take_logged(trainer, logger, metrics, step)
        except Exception as error:
            self.guard.report("a row of metrics could not be taken from a logger", error)

    def take_hyperparams(
        self, log_hyperparams: Callable[..., Any], logger: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Record hyperparameters that were handed to one logger, and metrics with them, as `TensorBoardLogger` takes.

        Args:
            log_hyperparams: the logger's own function.
            logger: the logger.
            args: positional arguments of the call.
            kwargs: keyword arguments of the call.
        """
        try:
            trainer = self.lifecycle.trainer_of(logger)
            if trainer is not None and self.lifecycle.is_silent(trainer):
                return
            params = args[0] if args else kwargs.get("params")
            given: Mapping[str, Any] = {}
            with suppress(TypeError):  # the logger has refused this call, too
                given = _arguments(log_hyperparams, logger, args, kwargs)
            metrics = _of_hyperparams(given.get("metrics"))
            if trainer is None:
                self.fabric.take_hyperparams(logger, params, metrics, given.get("step"))
                return
            if params is not None:
                self.hparams.update(params)
            if metrics:
                self.rows.take_logged(trainer, logger, metrics, given.get("step"))
        except Exception as error:
            self.guard.report("hyperparameters could not be taken from a logger", error)

    def take_handed(self, logger: Any, metrics: Any, step: Any, params: Any = None) -> None:
        """Record what a logger of ours was handed, unless it is recorded where it comes from.

        Args:
            logger: the logger, which a trainer may not have used yet.
            metrics: values by name; with hyperparameters also one number, or None.
            step: the step that was given; None for none.
            params: hyperparameters; None for none.
        """
        if get_ident() in self.handing_out.threads:
            return
        try:
            trainer = self.lifecycle.trainer_of(logger)
            if self.lifecycle.is_silent(trainer):
                return
            if params is not None:
                self.hparams.update(params)
                metrics = _of_hyperparams(metrics)
            if metrics:
                self.rows.take_logged(trainer, logger, metrics, step)
        except Exception as error:
            self.guard.report("what a logger was handed could not be recorded", error)

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
            trainer: the copy of a trainer that was entered elsewhere, or of a Fabric that was launched there.
            callback: the copy of our callback among those of the trainer, or of what the Fabric launches.
            prepare: called with the trainer first.
        """
        try:
            if isinstance(callback, LaunchedFunction):
                self.fabric.enter_copy(trainer, callback.rows, prepare)
                return
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


def _arguments(
    function: Callable[..., Any], logger: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Mapping[str, Any]:
    """Arguments of a call by name: a user's logger may name and order them as it likes."""
    return inspect.signature(function).bind(logger, *args, **kwargs).arguments if args else kwargs


def _of_hyperparams(metrics: Any) -> Mapping[str, Any]:
    """Metrics that were logged with hyperparameters, by name; TensorBoard has a name for a single number."""
    if metrics is None or isinstance(metrics, Mapping):
        return metrics or {}
    return {semconv.HP_METRIC: metrics}
