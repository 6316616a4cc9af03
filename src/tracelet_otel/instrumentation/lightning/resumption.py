"""Reads from a trainer at which step its fit begins, and from which checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from time import time_ns
from typing import Any

from tracelet_otel.instrumentation.attempts import BegunFit
from tracelet_otel.instrumentation.signals import Signals


def fit_beginning(signals: Signals, trainer: Any, is_silent: Callable[[Any], bool]) -> Callable[[Any], None]:
    """Make what takes note of a fit at its first batch. It never raises.

    Args:
        signals: get the note.
        trainer: the trainer, before its checkpoint is restored. It may have trained before.
        is_silent: returns whether what a trainer does is not to be recorded.
    """
    before = (int(trainer.global_step), int(trainer.current_epoch))

    def fit_begins(trainer: Any) -> None:
        try:
            if is_silent(trainer):
                return
            now = (int(trainer.global_step), int(trainer.current_epoch))
            named = trainer.ckpt_path or ""
            # Lightning finds a checkpoint by itself where SLURM has put a job back into the queue.
            signals.attempts.fit_begins(trainer, BegunFit(time_ns(), *now, str(named), bool(named) or now != before))
        except Exception as error:
            signals.guard.report("at which step a fit begins is not known", error)

    return fit_begins
