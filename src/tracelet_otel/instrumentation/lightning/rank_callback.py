"""The callback that a trainer has while it is recorded.

It reports when trainer, module and optimizers are set up, and when a batch has been trained with. It also marks the
real training: the trial runs of Lightning's tuner replace all callbacks, so it is missing there. It has no state and
changes no checkpoint. A pickled or forked copy, in a process that the training started, makes that process record its
rank. Any other copy does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

from tracelet_otel.instrumentation.launching import InStartedProcess
from tracelet_otel.instrumentation.lightning.gradients import GradientNorms
from tracelet_otel.instrumentation.timing.batch import samples_in


class RankCallback:
    """What the callbacks of both packages have in common."""

    def __init__(self) -> None:
        self._package = ""
        self._report: Callable[[Any], None] | None = None
        self._batch_ended: Callable[[int | None], None] | None = None
        self._gradients: GradientNorms | None = None
        self._when_set_up: Callable[[Any], None] | None = None
        self._fit_begins: Callable[[Any], None] | None = None
        self._in_process: InStartedProcess | None = None
        self._pid = os.getpid()
        self._is_copy = False

    def begin(
        self,
        report: Callable[[Any], None],
        batch_ended: Callable[[int | None], None] | None = None,
        gradients: GradientNorms | None = None,
        when_set_up: Callable[[Any], None] | None = None,
        fit_begins: Callable[[Any], None] | None = None,
    ) -> None:
        """Make this callback report trainers of this process.

        Args:
            report: called with the trainer when all is set up; never raises.
            batch_ended: called with the number of samples in each batch that was trained with, or None where that is
                not known; never raises. None for nobody who wants to know.
            gradients: measures gradients before optimizers step; None for nobody who wants to know.
            when_set_up: called with the trainer when its loggers are ready; never raises. None for nobody.
            fit_begins: called with the trainer when a checkpoint is restored, if there is one, and the first batch
                comes; never raises. None for nobody.
        """
        self._report = report
        self._batch_ended = batch_ended
        self._gradients = gradients
        self._when_set_up = when_set_up
        self._fit_begins = fit_begins
        self._pid, self._is_copy = os.getpid(), False

    def _ready(self, trainer: Any) -> None:
        if self._report is not None and os.getpid() == self._pid:
            self._report(trainer)

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Begin to record, where this is a copy in another process. Only ranks call this hook, other workers do not."""
        if (self._is_copy or os.getpid() != self._pid) and self._in_process is not None:
            self._in_process(trainer, self)
        if self._when_set_up is not None and os.getpid() == self._pid:
            self._when_set_up(trainer)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Report the trainer: its optimizers exist now."""
        self._ready(trainer)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Report at which step the fit begins."""
        if self._fit_begins is not None and os.getpid() == self._pid:
            self._fit_begins(trainer)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Report a batch. This runs at each step, so it makes no system call."""
        if self._batch_ended is not None:
            try:
                samples = samples_in(batch)
            except Exception:
                samples = None  # a type of the user's own that is not what it seems
            self._batch_ended(samples)
        if self._gradients is not None:
            self._gradients.batch_ended(trainer)

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Let the gradients be measured."""
        if self._gradients is not None:
            self._gradients.before_step(trainer, optimizer)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Let that be recorded which was measured before a batch failed."""
        if self._gradients is not None:
            self._gradients.batch_ended(trainer)

    def _outside_fit(self, trainer: Any, pl_module: Any) -> None:
        # Each validation within a fit calls this too, but the fit was reported at its start.
        if trainer.state.fn != "fit":
            self._ready(trainer)

    on_validation_start = on_test_start = on_predict_start = _outside_fit

    def __reduce__(self) -> tuple[Any, ...]:
        return _copied_rank_callback, (self._package, self._in_process)

    def __deepcopy__(self, _memo: Any) -> Any:
        return make_rank_callback(self._package)


def make_rank_callback(package: str, in_process: InStartedProcess | None = None) -> Any:
    """Make the callback, as a `Callback` of the package.

    Args:
        package: `lightning.pytorch` or `pytorch_lightning`.
        in_process: what a copy calls in another process, once that is known to be a rank; None for nothing.
    """
    callback = _callback_type(package)()
    callback._package = package
    callback._in_process = in_process
    return callback


def _copied_rank_callback(package: str, in_process: InStartedProcess | None) -> Any:
    callback = make_rank_callback(package, in_process)
    callback._is_copy = True
    return callback


@cache
def _callback_type(package: str) -> Any:
    return type("TraceletRankCallback", (RankCallback, import_module(f"{package}.callbacks").Callback), {})
