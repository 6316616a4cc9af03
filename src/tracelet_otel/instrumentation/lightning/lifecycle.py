"""Reports start and end of `Trainer.fit`, `validate`, `test` and `predict`."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from tracelet_otel import semconv
from tracelet_otel._support.private_names import LIGHTNING, STARTS_RANKS, TRIAL
from tracelet_otel.instrumentation.lightning.advance import advance_of
from tracelet_otel.instrumentation.lightning.checkpoints import WatchedCheckpoints
from tracelet_otel.instrumentation.lightning.gradients import GradientNorms
from tracelet_otel.instrumentation.lightning.module_summary import parts_of, summary_of
from tracelet_otel.instrumentation.lightning.rank_callback import RankCallback, make_rank_callback
from tracelet_otel.instrumentation.lightning.resumption import fit_beginning
from tracelet_otel.instrumentation.lightning.timed_trainer import TimedTrainer
from tracelet_otel.instrumentation.lightning.trainer_config import configuration
from tracelet_otel.instrumentation.signals import Signals
from tracelet_otel.protocol.files import SUMMARY_FILE
from tracelet_otel.resource.rank_info import RankInfo


class Lifecycle:
    """Keeps track of the trainers that are running, and reports their configuration and outcome.

    Args:
        signals: where configuration and outcome go.
    """

    def __init__(self, signals: Signals) -> None:
        self._signals = signals
        self._callbacks: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
        """Our callback of each trainer that is running."""
        self._timed: weakref.WeakKeyDictionary[Any, TimedTrainer] = weakref.WeakKeyDictionary()
        """Of each trainer that is running, what notes its actions."""
        self._watched: weakref.WeakKeyDictionary[Any, WatchedCheckpoints] = weakref.WeakKeyDictionary()
        """Of each trainer that is running, what notes its checkpoints."""
        self._tuning: weakref.WeakSet[Any] = weakref.WeakSet()
        """Trainers in a call that only tunes."""
        self._seen: weakref.WeakSet[Any] = weakref.WeakSet()
        """All trainers that have run so far."""
        self.when_set_up: Callable[[Any], None] | None = None
        """Called with a trainer when its loggers are ready, and before its module is set up; never raises."""
        self.heard = NOBODY
        """Last result of `hear`, reused as long as it is valid; `NOBODY` otherwise."""

    @property
    def is_idle(self) -> bool:
        """Whether no trainer is running."""
        return not self._callbacks

    def enter(self, trainer: Any, function: str) -> bool:
        """A trainer starts.

        Args:
            trainer: the trainer.
            function: which of its functions was called: `fit`, `validate`, `test` or `predict`.

        Returns:
            Whether `leave` is to be called at its end: not for a call inside another one of the same trainer.
        """
        if trainer in self._callbacks or trainer in self._tuning:
            return False
        self.heard = NOBODY
        if only_tunes(trainer):
            self._tuning.add(trainer)
            return True
        starts_ranks = _starts_ranks(trainer)
        if not starts_ranks:
            self._watch(trainer, function)
        membership, launching = self._signals.membership, self._signals.launching
        membership.begin(trainer.world_size)
        if starts_ranks or trainer.world_size > 1:
            launching.begin(membership.training)
        in_process = launching.in_process if starts_ranks else None
        self._learn_rank(trainer, starts_ranks=starts_ranks, recorded=in_process is not None)
        callback = make_rank_callback(_package(trainer), in_process)
        trainer.callbacks.append(callback)
        self._begin(trainer, callback)
        # Predictions log nothing.
        if function != "predict" and not self.is_silent(trainer):
            self._signals.training_begins()
        return True

    def forget_start(self, trainer: Any) -> None:
        """Take back what `enter` announced, where it failed: `leave` will not be called."""
        self._signals.launching.end()
        self._watch_no_more(trainer, None)

    def enter_copy(self, trainer: Any, callback: Any) -> None:
        """A trainer continues in this process, which was started for it.

        Args:
            trainer: the copy of a trainer that was entered elsewhere.
            callback: the copy of our callback among those of the trainer.
        """
        self.heard = NOBODY
        self._signals.membership.rank_info = _rank_info(trainer)
        self._begin(trainer, callback)
        self._watch(trainer, trainer.state.fn.value)

    def leave(self, trainer: Any, error: BaseException | None) -> None:
        """A trainer ends.

        Args:
            trainer: the trainer.
            error: the exception that ended it; None for none.
        """
        self.heard = NOBODY
        if trainer in self._tuning:
            self._tuning.discard(trainer)
            return
        callback = self._callbacks.pop(trainer)
        with suppress(ValueError):  # a user's code may have replaced the list
            trainer.callbacks.remove(callback)
        self._signals.outcome.training_ended(error)
        self._signals.launching.end()
        self._watch_no_more(trainer, error)

    def _begin(self, trainer: Any, callback: Any) -> None:
        timing = self._signals.timing
        gradients = GradientNorms(self._signals, self.is_silent) if self._signals.gradients_every else None
        batch_ended = None if timing is None else timing.actions.batch_ended
        fit_begins = fit_beginning(self._signals, trainer, self.is_silent)
        callback.begin(self._report_configuration, batch_ended, gradients, self.when_set_up, fit_begins)
        self._callbacks[trainer] = callback
        self._seen.add(trainer)
        self._signals.progress.watch(trainer, _step_of, advance_of)
        self._signals.outcome.value = semconv.OUTCOME_RUNNING

    def _watch(self, trainer: Any, function: str) -> None:
        """Note what a trainer does from now on, in the process in which it does that."""
        signals, timing = self._signals, self._signals.timing
        spans = None if timing is None else timing.actions.spans
        try:
            if timing is not None:
                self._timed[trainer] = TimedTrainer(trainer, function, timing, _step_of)
        except Exception as error:
            signals.guard.report("where the time goes is not measured for this training", error)
        try:
            if spans is not None or not signals.checkpoints.is_off:
                self._watched[trainer] = WatchedCheckpoints(trainer, signals.checkpoints, spans, _step_of)
        except Exception as error:
            signals.guard.report("checkpoints of this training are not recorded", error)

    def _watch_no_more(self, trainer: Any, error: BaseException | None) -> None:
        watched, timed = self._watched.pop(trainer, None), self._timed.pop(trainer, None)
        if watched is not None:
            watched.end()
        if timed is not None:
            timed.end(error)

    def _learn_rank(self, trainer: Any, *, starts_ranks: bool, recorded: bool) -> None:
        """Take this process's rank from its trainer.

        Args:
            trainer: the trainer.
            starts_ranks: whether it only starts the processes that train, and is no rank itself.
            recorded: whether those processes record.
        """
        membership = self._signals.membership
        if starts_ranks:
            membership.rank_info = None
            if not recorded:
                self._signals.guard.report(
                    "what the processes of this training log is not recorded",
                    "they are started from this one and need a relay, which relay=False turns off",
                )
        elif trainer.world_size > 1 or membership.rank_info is None:
            # A trainer of one process takes itself for rank 0, on each rank. So a known rank is not replaced by it.
            known, membership.rank_info = membership.rank_info, _rank_info(trainer)
            if known is None and not membership.rank_info.is_first:
                self._signals.guard.report(
                    f"{membership.rank_info} has recorded a run of its own",
                    "nothing said that it is a rank when start_logging was called: set RANK and LOCAL_RANK before",
                )

    def hear(self, trainer: Any) -> Heard:
        """Determine whether a trainer's rows are to be recorded now.

        The result is valid as long as `heard` has it and the trainer's callbacks are the same.

        Returns:
            `NOBODY` where they are not recorded.
        """
        callbacks = trainer.callbacks
        if self.is_silent(trainer):
            return NOBODY
        found = Heard(trainer, callbacks, len(callbacks), trainer.world_size)
        if trainer in self._callbacks:
            self.heard = found
        return found

    def is_silent(self, trainer: Any | None) -> bool:
        """Whether what a trainer logs now, or somebody without one, is not to be recorded.

        This holds in `fast_dev_run`, in which Lightning replaces all loggers, and in a trial run of the tuner, which
        replaces all callbacks by its own or by none. Other callbacks, that a user's code has put there, are no sign of
        a trial. It also holds for what every rank does by itself, because rank 0 reports that.
        """
        if trainer is None:
            return self._signals.membership.repeats
        if trainer.fast_dev_run or trainer in self._tuning or self._signals.membership.is_shadow(trainer.world_size):
            return True
        if trainer not in self._callbacks or any(isinstance(one, RankCallback) for one in trainer.callbacks):
            return False
        return not trainer.callbacks or any(type(one).__name__ == TRIAL for one in trainer.callbacks)

    def trainer_of(self, logger: Any) -> Any | None:
        """The trainer that a logger belongs to; None for a logger that is used without one."""
        for trainer in list(self._seen):
            if any(one is logger for one in trainer.loggers):
                return trainer
        return None

    def _report_configuration(self, trainer: Any) -> None:
        try:
            self._signals.hparams.update(configuration(trainer, self._signals.guard))
        except Exception as error:
            self._signals.guard.report("the training's configuration could not be read", error)
        try:
            self._record_summary(trainer)
        except Exception as error:
            self._signals.guard.report("a summary of the module is not recorded", error)

    def _record_summary(self, trainer: Any) -> None:
        signals = self._signals
        is_wanted = trainer.state.fn == "fit" and not signals.membership.rank and signals.own_files.are_taken
        parts = parts_of(trainer) if is_wanted and not self.is_silent(trainer) else None
        if parts is not None:
            signals.own_files.add(SUMMARY_FILE, lambda: summary_of(parts))


@dataclass(frozen=True, slots=True)
class Heard:
    """A trainer that is recorded, and its callbacks when that was determined: it is valid while they are the same."""

    trainer: Any
    callbacks: Any
    callback_count: int
    world_size: int


NOBODY: Final = Heard(None, None, 0, 0)
"""What stands for "not recorded": its world size of 0 occurs in no trainer."""


def _step_of(trainer: Any) -> int:
    """A trainer's step, as Lightning passes it to its loggers."""
    step: int = trainer.fit_loop.epoch_loop._batches_that_stepped
    return step


def only_tunes(trainer: Any) -> bool:
    """Whether a call of a trainer only looks for a learning rate or a batch size."""
    # `Tuner` puts a finder callback in front, which ends the call once it has its result.
    return any(getattr(callback, "_early_exit", False) for callback in trainer.callbacks)


def _rank_info(trainer: Any) -> RankInfo:
    return RankInfo(trainer.global_rank, trainer.local_rank, trainer.node_rank, trainer.world_size)


def _starts_ranks(trainer: Any) -> bool:
    """Whether other processes train for this one, which only waits for them."""
    launcher = trainer.strategy.launcher
    return any(base.__name__ == STARTS_RANKS for base in type(launcher).__mro__)


def _package(trainer: Any) -> str:
    for base in type(trainer).__mro__:
        for package in LIGHTNING.packages:
            if base.__module__.startswith(f"{package}."):
                return package
    raise TypeError(f"{type(trainer)} is no Lightning Trainer")
