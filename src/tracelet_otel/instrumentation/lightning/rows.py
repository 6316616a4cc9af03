"""Records the rows that Lightning, or the user, hands to the loggers.

Lightning reduces, names and paces what `self.log` gets, and hands finished rows to its logger connector. Callbacks such
as `LearningRateMonitor`, and users, call the loggers themselves. Both kinds of rows are recorded, each row once.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from time import time_ns
from typing import Any, Final

from tracelet_otel import semconv
from tracelet_otel.instrumentation.lightning.lifecycle import Lifecycle
from tracelet_otel.instrumentation.lightning.recording_logger import RecordingLogger
from tracelet_otel.instrumentation.lightning.reductions import Reductions
from tracelet_otel.instrumentation.recorder import Row
from tracelet_otel.instrumentation.scalars import snapshot
from tracelet_otel.instrumentation.signals import Signals

_REMEMBERED: Final = 32
"""Rows that are kept to recognize the same row when it is handed to another logger."""


class Rows:
    """Records rows as Lightning's own loggers would.

    Args:
        signals: where rows go.
        lifecycle: knows which trainers' rows are recorded.
    """

    def __init__(self, signals: Signals, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle
        self._guard = signals.guard
        self._record = signals.recorder.record
        self._timing = signals.timing
        self._row_logged = _not_timed if signals.timing is None else signals.timing.actions.row_logged
        self._make_row = self._row_of
        self._membership = signals.membership
        self._reductions = Reductions(signals.guard)
        self._handed_by: Callable[[], Any] = lambda: None
        """Returns the trainer of the rows in `_handed`."""
        self._handed: deque[_LoggedRow] = deque(maxlen=_REMEMBERED)
        """The last rows that were handed to its loggers one by one."""

    def take(self, trainer: Any, metrics: Mapping[str, Any], step: int | None) -> None:
        """Record a row of the logger connector. Never raises.

        This runs on the training thread, so it reads only what may change later. The values are new, detached
        tensors, so references to them are enough.

        Args:
            trainer: the trainer whose connector it is.
            metrics: values by name.
            step: the step that Lightning passed; None where it is yet to be resolved.
        """
        try:
            if not metrics:
                return
            known, callbacks = self._lifecycle.heard, trainer.callbacks
            if (
                trainer is not known.trainer
                or callbacks is not known.callbacks
                or len(callbacks) != known.callback_count
            ):
                known = self._lifecycle.hear(trainer)
            world_size, training = known.world_size, None
            if world_size != 1:
                if not world_size:  # `NOBODY`: this trainer is not recorded
                    return
                self._reductions.look_up(trainer, metrics)
                training = self._membership.training
            state, fit_loop = trainer.state, trainer.fit_loop
            trainer_step = fit_loop.epoch_loop._batches_that_stepped
            self._record(
                (
                    self._make_row,
                    time_ns(),
                    dict(metrics),
                    step,
                    state.fn,
                    state.stage,
                    fit_loop.epoch_progress.current.completed,
                    trainer_step,
                    training,
                    world_size,
                    self._row_logged(trainer_step),
                )
            )
        except Exception as error:
            self._guard.report("a row of metrics could not be taken from Lightning", error)

    def _row_of(self, queued: tuple[Any, ...]) -> Row:
        """Make a row of what `take` queued, with step and epoch resolved as `_LoggerConnector.log_metrics` does it."""
        # In the order of `take`.
        _, time_unix_nano, values, step, function, running_stage, epoch, trainer_step, *others = queued
        training, world_size, timed = others
        is_evaluating = running_stage is not None and running_stage.evaluating
        axis = semconv.AXIS_EVAL_BATCH if is_evaluating else semconv.AXIS_TRAINER
        if step is None:
            step = values.pop("step", None)
            if step is not None:
                axis = semconv.AXIS_LOGGED
            else:
                values.setdefault("epoch", epoch)
                step, axis = trainer_step, semconv.AXIS_TRAINER
        stage = _stage(function)
        if self._timing is not None and axis == semconv.AXIS_TRAINER and stage == "fit":
            # A metric of the user's that has the same name stays what it is.
            for name, value in self._timing.times_of(timed).items():
                values.setdefault(name, value)
        row = Row(time_unix_nano, values, step, axis, stage, epoch)
        if training is None:
            return row
        return row._replace(training=training, world_size=world_size, reductions=self._reductions.by_name)

    def take_logged(self, trainer: Any | None, logger: Any, metrics: Mapping[str, Any], step: int | None) -> None:
        """Record a row that a callback or the user hands to one logger.

        The same row handed to each of several loggers is recorded once. A missing step is recorded as 0, as Lightning's
        loggers for MLflow and TensorBoard do it. It is on an axis of its own, since other loggers have rows without a
        step.

        Args:
            trainer: the trainer that the logger belongs to; None for a logger of ours that no trainer has used yet.
            logger: the logger.
            metrics: values by name.
            step: the step that was given; None for none.
        """
        if trainer is not None and len(trainer.loggers) > 1 and self.is_copy(trainer, logger, metrics, step):
            return
        # Unlike the connector's values, these may be changed in place later.
        values = {name: snapshot(value) for name, value in metrics.items()}
        kept_step = 0 if step is None else snapshot(step)
        axis = semconv.AXIS_NONE if step is None else semconv.AXIS_USER
        row = Row(time_ns(), values, kept_step, axis, "")
        world_size = self._membership.world_size or 1
        if trainer is not None:
            row = row._replace(stage=_stage(trainer.state.fn), epoch=trainer.current_epoch)
            world_size = trainer.world_size
        if world_size > 1:
            row = row._replace(training=self._membership.training, world_size=world_size)
            if isinstance(logger, RecordingLogger):
                # Lightning's own loggers write what rank 0 hands to them.
                row = row._replace(reductions=dict.fromkeys(values, semconv.REDUCTION_NONE))
        self._record(row)

    def is_copy(self, trainer: Any, logger: Any, metrics: Mapping[str, Any], step: Any) -> bool:
        """Whether another logger of a trainer, or of a Fabric, has had the same row."""
        if self._handed_by() is not trainer:
            self._handed_by = weakref.ref(trainer)
            self._handed.clear()
        for row in self._handed:
            if row.is_copied_to(logger, metrics, step):
                return True
        self._handed.append(_LoggedRow(logger, metrics, step))
        return False


class _LoggedRow:
    """A row that a logger got, kept to recognize the same row when other loggers get it."""

    def __init__(self, logger: Any, metrics: Mapping[str, Any], step: Any) -> None:
        self._loggers = {id(logger)}
        self._metrics = dict(metrics)
        self._step = step

    def is_copied_to(self, logger: Any, metrics: Mapping[str, Any], step: Any) -> bool:
        if id(logger) in self._loggers or not _is_same(step, self._step) or metrics.keys() != self._metrics.keys():
            return False
        if not all(_is_same(value, self._metrics[name]) for name, value in metrics.items()):
            return False
        self._loggers.add(id(logger))
        return True


class HandingOut:
    """The threads that are handing a row to the loggers: calls nested in that have the same row.

    Not thread-local storage, which would cost as much as all else that is done for a row.
    """

    def __init__(self) -> None:
        self.threads: set[int] = set()
        """Their ids, from `threading.get_ident`."""

    def __enter__(self) -> None:
        try:
            self.threads.add(threading.get_ident())
        except BaseException:
            # An interrupt may come here, and `with` does not call `__exit__` then.
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        self.threads.discard(threading.get_ident())


def _is_same(one: Any, other: Any) -> bool:
    # Tensors are never compared: that would wait for their device.
    return one is other or (type(one) is type(other) and isinstance(one, (int, float)) and one == other)


def _not_timed(_step: int) -> None:
    """Stands in the place of `Actions.row_logged` where time is not measured."""


def _stage(function: Any) -> str:
    """Name of the stage, from a `TrainerFn` or None."""
    return str(function.value) if function else ""
