"""Rows that Lightning, or the user, hands to the loggers.

Lightning reduces, names and paces what `self.log` gets and hands finished rows to its logger
connector. Callbacks such as `LearningRateMonitor`, and users, call the loggers themselves. Both are
taken, each row once.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from tracelet_otel import semconv
from tracelet_otel.instrumentation.lightning.reductions import Reductions
from tracelet_otel.instrumentation.recorder import Row, snapshot
from tracelet_otel.instrumentation.signals import Signals

_REMEMBERED: Final = 32
"""Rows among which a copy for another logger is looked for."""


class Rows:
    """Records rows as Lightning's own loggers would.

    Args:
        signals: where rows go.
    """

    def __init__(self, signals: Signals) -> None:
        self._recorder = signals.recorder
        self._membership = signals.membership
        self._reductions = Reductions(signals.guard)
        self._handed_by: Callable[[], Any] = lambda: None
        self._handed: deque[_LoggedRow] = deque(maxlen=_REMEMBERED)
        self.handed_out = _Depth()
        """Raised while somebody hands a row to the loggers: their nested calls are the same row."""

    def take(self, trainer: Any, metrics: Mapping[str, Any], step: int | None) -> None:
        """Record a row of the logger connector.

        Step and epoch are resolved as `_LoggerConnector.log_metrics` does it inside. The values are
        fresh, detached tensors, so references are enough.
        """
        now = time.time_ns()
        values = dict(metrics)
        epoch = trainer.current_epoch
        at: Any = step
        axis = semconv.AXIS_EVAL_BATCH if trainer.evaluating else semconv.AXIS_TRAINER
        if step is None:
            at = values.pop("step", None)
            if at is not None:
                axis = semconv.AXIS_LOGGED
            else:
                values.setdefault("epoch", epoch)
                at = step_of(trainer)
                axis = semconv.AXIS_TRAINER
        world_size = trainer.world_size
        if world_size == 1:
            self._recorder.record(Row(now, values, at, axis, _stage(trainer), epoch))
            return
        self._reductions.look_up(trainer, values)
        self._recorder.record(
            Row(
                now,
                values,
                at,
                axis,
                _stage(trainer),
                epoch,
                self._membership.training,
                world_size,
                self._reductions.by_name,
            )
        )

    def take_logged(self, trainer: Any, logger: Any, metrics: Mapping[str, Any], step: int | None) -> None:
        """Record a row that a callback or the user hands to one logger.

        The same row handed to each of several loggers is recorded once. A missing step is 0, as in
        Lightning's loggers for MLflow and TensorBoard, on an axis of its own, since others know rows without one.
        """
        if len(trainer.loggers) > 1 and self._is_copy(trainer, logger, metrics, step):
            return
        # Unlike the connector's values these may be changed in place later.
        values = {name: snapshot(value) for name, value in metrics.items()}
        at = 0 if step is None else snapshot(step)
        axis = semconv.AXIS_NONE if step is None else semconv.AXIS_USER
        row = Row(time.time_ns(), values, at, axis, _stage(trainer), trainer.current_epoch)
        if trainer.world_size > 1:
            row = row._replace(training=self._membership.training, world_size=trainer.world_size)
        self._recorder.record(row)

    def _is_copy(self, trainer: Any, logger: Any, metrics: Mapping[str, Any], step: Any) -> bool:
        if self._handed_by() is not trainer:
            self._handed_by = weakref.ref(trainer)
            self._handed.clear()
        for row in self._handed:
            if row.is_copied_to(logger, metrics, step):
                return True
        self._handed.append(_LoggedRow(logger, metrics, step))
        return False


class _LoggedRow:
    """A row that a logger got, to know its copies by."""

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


class _Depth(threading.local):
    """How deep a thread is in calls that hand out a row."""

    depth = 0

    def __enter__(self) -> None:
        self.depth += 1

    def __exit__(self, *_: object) -> None:
        self.depth -= 1


def _is_same(one: Any, other: Any) -> bool:
    # Tensors are never compared: that would wait for their device.
    return one is other or (type(one) is type(other) and isinstance(one, (int, float)) and one == other)


def step_of(trainer: Any) -> int:
    """Where a trainer is on the axis on which Lightning's loggers have it."""
    step: int = trainer.fit_loop.epoch_loop._batches_that_stepped
    return step


def _stage(trainer: Any) -> str:
    stage = trainer.state.fn
    return str(stage.value) if stage else ""
