"""What the training thread notes: which action began or ended, and when. Nothing is computed there.

Lightning names what it does for its profiler, also where the user has none. Each name becomes an `Action`, which begins
and ends many times. Each time two objects go to a queue, from which another thread sums phases (`account`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from time import perf_counter_ns
from typing import Any, Final, Protocol

from tracelet_otel import semconv
from tracelet_otel.instrumentation.timing.marks import BatchEnds, EpochBegins, RowLogged
from tracelet_otel.instrumentation.timing.phases import LIGHTNING, TrainingPhase, phase_of
from tracelet_otel.instrumentation.tracing.notes import SpanNotes

_EPOCH: Final = "run_training_epoch"
"""Name that Lightning has for the epoch of a training."""
_EPOCH_BEGINS: Final = EpochBegins()
_MOST_EVENTS: Final = 200_000
"""Where more wait, as where metrics are collected each minute or never, the thread that trains has them summed."""

_SPANS: Final = {_EPOCH: semconv.SPAN_EPOCH, "[_EvaluationLoop].run": semconv.SPAN_VALIDATION}
"""Actions that become spans as well, with the names of these."""

Events = deque[Any]
"""Actions or marks, and times in nanoseconds, in turn. The time is negative for a mark, and where an action ended."""


class Action:
    """Something that a trainer does, as a context manager that can be entered again and again.

    Args:
        name: its name, as Lightning's profiler has it.
        phase: where its time goes, wherever it occurs.
        events: where its beginnings and ends are noted.
        stage: what the trainer was called for, where the action is that call; empty for all others.
    """

    __slots__ = ("_note", "name", "phase", "stage")

    def __init__(self, name: str, phase: TrainingPhase, events: Events, stage: str = "") -> None:
        self.name = name
        self.phase = phase
        self.stage = stage
        self._note = events.append

    def __enter__(self) -> str:
        """Note that it begins; returns its name, as the context managers of Lightning's profilers do."""
        self._note(self)
        self._note(perf_counter_ns())
        return self.name

    def __exit__(self, *_: object) -> None:
        """Note that it ends, by an exception or not."""
        self._note(self)
        self._note(-perf_counter_ns())


class _Step(Action):
    """An action that each step of a training or an evaluation has."""

    __slots__ = ("_actions",)

    def __init__(self, name: str, phase: TrainingPhase, actions: Actions) -> None:
        super().__init__(name, phase, actions.events)
        self._actions = actions

    def __exit__(self, *_: object) -> None:
        """Note that it ends, and have the events summed where they are too many."""
        super().__exit__()
        if len(self._actions.events) > _MOST_EVENTS:
            self._actions.sum_up()


class _Epoch(Action):
    """The epoch of a training, with which a step begins."""

    __slots__ = ()

    def __enter__(self) -> str:
        """Note that it begins."""
        name = super().__enter__()
        self._note(_EPOCH_BEGINS)
        self._note(-perf_counter_ns())
        return name


class _Traced(Action):
    """An action that becomes a span as well."""

    __slots__ = ("_span", "_spans")

    def __init__(self, name: str, phase: TrainingPhase, events: Events, spans: SpanNotes) -> None:
        super().__init__(name, phase, events)
        self._span = _SPANS[name]
        self._spans = spans

    def __enter__(self) -> str:
        """Note that it begins; returns its name."""
        self._spans.begin(self._span)
        return super().__enter__()

    def __exit__(self, *raised: object) -> None:
        """Note that it ends, by an exception or not."""
        super().__exit__()
        self._spans.end(self._span, *raised)


class _TracedEpoch(_Traced, _Epoch):
    __slots__ = ()


class StepsOnDevice(Protocol):
    """Whatever measures steps on a device."""

    def batch_ended(self) -> None:
        """A step ends, and the next one begins."""
        ...


class Actions(dict[str, Action]):
    """The actions of a process, by name. Each is made when it is first looked up.

    A lookup is a method of `dict`, so that it costs no call of a Python function.

    Args:
        sum_up: called on the thread that trains, where more events wait than memory should be spent on.
    """

    def __init__(self, sum_up: Callable[[], None]) -> None:
        super().__init__()
        self.sum_up = sum_up
        self.events = Events()
        self.device: StepsOnDevice | None = None
        """What measures steps on the device, while a trainer on one runs."""
        self.spans: SpanNotes | None = None
        """Where it is noted what becomes spans; None where there are none."""

    def __missing__(self, name: str) -> Action:
        action = self[name] = self._made(name)
        return action

    def _made(self, name: str) -> Action:
        phase, is_epoch = phase_of(name), name == _EPOCH
        if phase.name == semconv.PHASE_FORWARD:
            return _Step(name, phase, self)
        if self.spans is not None and name in _SPANS:
            return (_TracedEpoch if is_epoch else _Traced)(name, phase, self.events, self.spans)
        return (_Epoch if is_epoch else Action)(name, phase, self.events)

    def __reduce__(self) -> tuple[Any, ...]:
        # What a copy of a trainer does, as in another process, is not noted.
        return _Unnoted, ()

    def batch_ended(self, samples: int | None) -> None:
        """Note that a batch has been trained with.

        Args:
            samples: how many samples it had; None where that is not known.
        """
        self.events.append(BatchEnds(samples))
        self.events.append(-perf_counter_ns())
        if self.device is not None:
            self.device.batch_ended()

    def row_logged(self, step: int) -> RowLogged:
        """Note that a training has logged a row.

        Args:
            step: the trainer's step.

        Returns:
            What gets the row's times, once they are summed.
        """
        mark = RowLogged(step)
        self.events.append(mark)
        self.events.append(-perf_counter_ns())
        return mark

    @property
    def fetching(self) -> Action:
        """The beginning of an epoch's batches, which starts workers; Lightning has no name for that."""
        return self["[_DataFetcher].first_next"]

    @property
    def validation(self) -> Action:
        """A validation within a training; Lightning has no name for that."""
        return self["[_EvaluationLoop].run"]

    def logging(self, logger: object = None) -> Action:
        """A row that is handed to one logger, or to all of a trainer; Lightning has no name for that."""
        return self["[Logger]" if logger is None else f"[Logger]{type(logger).__name__}"]

    def call(self, function: str) -> Action:
        """The call of a trainer's function. All of its time that no other action takes is Lightning's."""
        return Action(f"Trainer.{function}", LIGHTNING, self.events, function)


class _Unnoted(dict[str, AbstractContextManager[None]]):
    def __missing__(self, name: str) -> AbstractContextManager[None]:
        return nullcontext()
