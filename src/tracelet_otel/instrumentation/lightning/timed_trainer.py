"""Lets the actions of a trainer be noted while it runs: at its profiler, and around its validations.

Only attributes of trainer, profiler, strategy and loops are set, and they are taken away at the end. The profiler,
its type and what it reports stay the user's.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from tracelet_otel._support.private_names import NO_PROFILER, PROFILERS
from tracelet_otel.instrumentation.lightning.replaced import Replaced, Replacement
from tracelet_otel.instrumentation.patching import is_defined_in
from tracelet_otel.instrumentation.timing.actions import Action, Actions
from tracelet_otel.instrumentation.timing.timing import Timing
from tracelet_otel.instrumentation.tracing.notes import SETUP_IS_OVER, SpanNotes


class TimedTrainer:
    """A trainer whose actions are noted, until `end`.

    Args:
        trainer: the trainer, in the process in which it runs.
        function: which of its functions was called.
        timing: where they are noted.
        step_of: returns a trainer's step, as it is passed to loggers.
    """

    def __init__(self, trainer: Any, function: str, timing: Timing, step_of: Callable[[Any], int]) -> None:
        self._actions = actions = timing.actions
        self._call = actions.call(function)
        self._function = function
        self._spans = actions.spans
        self._replaced = Replaced()
        profiler, strategy = trainer.profiler, trainer.strategy
        if type(profiler).__name__ == NO_PROFILER:
            # Its own makes a context manager for each action, which does nothing. Ours takes less time.
            self._replaced.replace(profiler, "profile", lambda _: actions.__getitem__)
        elif not is_defined_in(inspect.unwrap(type(profiler).profile), PROFILERS):
            # The user's own may not call `start` and `stop`.
            self._replaced.replace(profiler, "profile", lambda method: _Profiled(method, actions))
        self._replaced.replace(profiler, "start", lambda method: _Started(method, actions))
        self._replaced.replace(profiler, "stop", lambda method: _Stopped(method, actions))
        if function == "fit" and strategy.root_device.type == "cuda":
            cuda: Any = sys.modules["torch.cuda"]
            make_event = partial(cuda.Event, enable_timing=True)
            actions.device = timing.device_times(make_event, cuda.is_current_stream_capturing)
        if function == "fit":
            loop = trainer.fit_loop.epoch_loop.val_loop
            self._replaced.replace(loop, "run", lambda method: _Within(method, actions.validation))
            # In manual optimization these are no actions of the profiler's.
            self._replaced.replace(strategy, "backward", lambda method: _Within(method, actions["[Strategy].backward"]))
            self._replaced.replace(
                strategy, "optimizer_step", lambda method: _Within(method, actions["[Strategy].optimizer_step"])
            )
        if self._spans is not None:
            spans = self._spans
            if function != "fit":
                loop = getattr(trainer, f"{function}_loop")
                self._replaced.replace(loop, "run", lambda method: _Begins(method, spans))
            spans.enter(trainer, function, step_of)
        self._call.__enter__()

    def end(self, error: BaseException | None) -> None:
        """Take away what was set, but nothing that somebody else has put in its place since.

        Args:
            error: the exception that ended the call; None for none.
        """
        self._call.__exit__()
        self._actions.device = None
        if self._spans is not None:
            self._spans.leave(self._function, error)
        self._replaced.undo()


class _Started(Replacement[Actions]):
    def __call__(self, action_name: str) -> Any:
        self._noted[action_name].__enter__()
        return self._method(action_name)


class _Stopped(Replacement[Actions]):
    def __call__(self, action_name: str) -> Any:
        try:
            return self._method(action_name)
        finally:
            self._noted[action_name].__exit__()


class _Profiled(Replacement[Actions]):
    @contextmanager
    def __call__(self, action_name: str) -> Iterator[Any]:
        with self._noted[action_name], self._method(action_name) as given:
            yield given


class _Within(Replacement[Action]):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with self._noted:
            return self._method(*args, **kwargs)


class _Begins(Replacement[SpanNotes]):
    """The loop of an evaluation, before which all is set up."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._noted.begin(SETUP_IS_OVER)
        return self._method(*args, **kwargs)
