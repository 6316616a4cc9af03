"""How far a trainer's fit has come, by the limits that the trainer has."""

from __future__ import annotations

import math
from typing import Any

from tracelet_otel.instrumentation.progress import Advance


def advance_of(trainer: Any) -> Advance | None:
    """How far a fit has come; None for a trainer that does not fit, or has no limit.

    A limit is `max_steps`, `max_epochs` with a known number of batches, or `max_time`. The one that will be reached
    first counts. What else may end the fit, such as early stopping, is not known.

    Args:
        trainer: the trainer.
    """
    if trainer.state.fn != "fit":
        return None
    shares = []
    if trainer.max_steps > 0:
        shares.append(trainer.global_step / trainer.max_steps)
    batches = trainer.num_training_batches
    if (trainer.max_epochs or -1) > 0 and 0 < batches < math.inf:
        # Of all epochs, since the count of the current one is not set back at the moment at which that begins.
        done = trainer.fit_loop.epoch_loop.batch_progress.total.completed
        shares.append(done / (trainer.max_epochs * batches))
    left_s = [left for callback in trainer.callbacks if (left := _timer_left_s(callback)) is not None]
    shares += [elapsed / (elapsed + left) for elapsed, left in left_s if elapsed + left > 0]
    if not shares:
        return None
    return Advance(
        min(max(shares), 1.0), trainer.state.status == "running", min((left for _, left in left_s), default=None)
    )


def _timer_left_s(callback: Any) -> tuple[float, float] | None:
    """Seconds that a fit has taken and may still take, from the callback that limits them; None for another one."""
    if not any(base.__module__.endswith(".pytorch.callbacks.timer") for base in type(callback).__mro__):
        return None
    left_s = callback.time_remaining("train")
    return None if left_s is None else (callback.time_elapsed("train"), max(left_s, 0.0))
