"""Records the norm of the gradients before an optimizer steps, in one step of many.

The norm is computed on the device of the gradients and stays there: the training thread only launches it, and a metric
reader's thread asks for the number. No collective is called, so nothing is recorded where a process has a part of each
gradient only.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from time import time_ns
from typing import Any, Final
from weakref import WeakKeyDictionary

from tracelet_otel import semconv
from tracelet_otel._support.private_names import SHARDING
from tracelet_otel.instrumentation.lightning.reductions import logged_names
from tracelet_otel.instrumentation.recorder import Row
from tracelet_otel.instrumentation.signals import Signals

_PLACE: Final = "the norm of gradients is not recorded"


class GradientNorms:
    """Measures the total 2-norm of an optimizer's gradients at every n-th of its steps.

    Gradients are only read. The same number is what clipping by norm looks at, before it clips.

    Args:
        signals: where norms go; `gradients_every` says at which steps.
        is_silent: whether what a trainer does now is not to be recorded.
    """

    def __init__(self, signals: Signals, is_silent: Callable[[Any], bool]) -> None:
        self._signals = signals
        self._is_silent = is_silent
        self._steps: WeakKeyDictionary[Any, int | None] = WeakKeyDictionary()
        """How many steps each optimizer has made; None for one whose gradients cannot be measured."""
        self._measured: list[tuple[str, Any, int]] = []
        """Name, norm and trainer's step of what has not been recorded yet."""

    def before_step(self, trainer: Any, optimizer: Any) -> None:
        """Measure, where it is the optimizer's turn. Gradients are unscaled by now, and not clipped. Never raises.

        Args:
            trainer: the trainer.
            optimizer: the optimizer of torch that steps next.
        """
        try:
            if optimizer not in self._steps:
                self._steps[optimizer] = _steps_before(trainer)
            made = self._steps[optimizer]
            if made is None:
                return
            self._steps[optimizer] = made + 1
            if (made + 1) % self._signals.gradients_every or self._is_silent(trainer):
                return
            reason = _reason_against(trainer, optimizer)
            gradients = [] if reason else _gradients(optimizer)
            if gradients and not reason:
                reason = _reason_against_all(gradients)
            if reason:
                self._give_up(optimizer, reason)
            elif gradients and not _is_only_recorded(gradients):
                step = trainer.fit_loop.epoch_loop._batches_that_stepped
                self._measured.append((_name(trainer, optimizer), _total_norm(gradients), step))
        except Exception as error:
            self._give_up(optimizer, error)

    def batch_ended(self, trainer: Any) -> None:
        """Record what was measured in this batch, unless the user logs a metric of the same name. Never raises."""
        if not self._measured:
            return
        try:
            measured, self._measured = self._measured, []
            own = logged_names(trainer._results)
            epoch, membership = trainer.fit_loop.epoch_progress.current.completed, self._signals.membership
            for name, norm, step in measured:
                if name not in own:
                    row = Row(time_ns(), {name: norm}, step, semconv.AXIS_TRAINER, "fit", epoch)
                    if trainer.world_size > 1:
                        row = row._replace(training=membership.training, world_size=trainer.world_size)
                    self._signals.recorder.record(row)
        except Exception as error:
            self._signals.guard.report(_PLACE, error)

    def _give_up(self, optimizer: Any, reason: BaseException | str) -> None:
        self._steps[optimizer] = None
        self._signals.guard.report(_PLACE, reason)


def _steps_before(trainer: Any) -> int:
    """How many steps an optimizer has made before this process first sees it, as after a resumed checkpoint."""
    # With several optimizers, Lightning counts the steps of all.
    return int(trainer.global_step) if len(trainer.optimizers) == 1 else 0


def _name(trainer: Any, optimizer: Any) -> str:
    if len(trainer.optimizers) == 1:
        return semconv.GRAD_NORM
    place = next(place for place, one in enumerate(trainer.optimizers) if one is optimizer)
    return f"{semconv.GRAD_NORM}/optimizer_{place}"


def _gradients(optimizer: Any) -> list[Any]:
    parameters = (one for group in optimizer.param_groups for one in group["params"])
    return [one.grad for one in parameters if one.grad is not None]


def _reason_against(trainer: Any, optimizer: Any) -> str:
    """Why the gradients of an optimizer are not what they seem; empty where they are."""
    strategy = type(trainer.strategy)
    if any(base.__name__ in SHARDING for base in strategy.__mro__):
        return f"with {strategy.__name__} a process has a part of each gradient only"
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    if scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False):
        return f"{type(optimizer).__name__} removes the scale of mixed precision from the gradients in its own step"
    return ""


def _reason_against_all(gradients: Sequence[Any]) -> str:
    """Why no norm of these gradients can be computed here; empty where it can."""
    tensor: Any = sys.modules["torch"].Tensor
    other = next((type(one).__name__ for one in gradients if type(one) is not tensor), None)
    if other is not None:
        return f"a gradient is a {other}, whose norm may need other processes"
    return "the gradients are on several devices" if len({one.device for one in gradients}) > 1 else ""


def _is_only_recorded(gradients: Sequence[Any]) -> bool:
    """Whether a CUDA graph is being recorded: what is launched now computes nothing."""
    torch: Any = sys.modules["torch"]
    return bool(gradients[0].is_cuda and torch.cuda.is_current_stream_capturing())


def _total_norm(gradients: list[Any]) -> Any:
    """The 2-norm of all gradients together, as a tensor on their device."""
    torch: Any = sys.modules["torch"]
    with torch.no_grad():
        norms = torch._foreach_norm(gradients)
        wide = torch.float64 if any(one.dtype == torch.float64 for one in norms) else torch.float32
        return torch.linalg.vector_norm(torch.stack(norms), dtype=wide)
