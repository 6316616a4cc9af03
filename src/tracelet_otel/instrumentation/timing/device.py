"""How long a device works in each phase of a step. Measured on one step in many, by events on its stream.

On a GPU the time of a phase is the time that it takes to launch its work, since nothing waits for the device. An event
that is put into the device's stream at the beginning and at the end of the phase has the device's own time. Nobody
waits for that either: the events are read later on another thread, once the device has passed them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.timing.actions import Action, Actions

EVERY: Final = 50
"""One step in so many is measured."""
_FETCHES: Final = "[_TrainingEpochLoop].train_dataloader_next"
"""Action that fetches the batch of a step."""
_PHASES: Final = (semconv.PHASE_TRANSFER, semconv.PHASE_FORWARD, semconv.PHASE_BACKWARD, semconv.PHASE_OPTIMIZER)
"""Those in which a device has work."""


class StreamEvent(Protocol):
    """A moment in a device's stream of work; `torch.cuda.Event` is one."""

    def record(self) -> None:
        """Put it into the stream."""
        ...

    def query(self) -> bool:
        """Whether the device has passed it. Does not wait."""
        ...

    def elapsed_time(self, end_event: StreamEvent, /) -> float:
        """Milliseconds from this event to another one, both of which the device has passed."""
        ...


@dataclass
class _Interval:
    """An action of a measured step."""

    phase: str
    begin: StreamEvent
    end: StreamEvent
    inner: list[_Interval] = field(default_factory=list)

    @property
    def is_done(self) -> bool:
        """Whether the device has done all of it."""
        return self.begin.query() and self.end.query() and all(one.is_done for one in self.inner)


class DeviceTimes:
    """Measures steps on a device. All but `take` is called by the thread that trains.

    Args:
        actions: the actions of the training; those of a step that is measured are replaced in it for that step.
        make_event: makes an event that can measure time.
        is_capturing: whether the stream only records its work now, for a graph; an event would break that.
        guard: where an error is reported; after one, nothing more is measured.
        every: one step in so many is measured.
    """

    def __init__(
        self,
        actions: Actions,
        make_event: Callable[[], StreamEvent],
        is_capturing: Callable[[], bool],
        guard: Guard,
        every: int = EVERY,
    ) -> None:
        self._actions = actions
        self._make_event = make_event
        self._is_capturing = is_capturing
        self._guard = guard
        self._every = every
        self._left = every
        self._is_broken = False
        self._replaced: dict[str, Action] = {}
        self._open: list[_Interval] = []
        self._step: list[_Interval] = []
        self._measured: deque[list[_Interval]] = deque()
        """Steps that the device may not have done yet, in order."""
        self._pool: deque[StreamEvent] = deque()
        self._seconds: dict[str, float] = {}
        self.steps = 0
        """How many have been measured and read."""

    def batch_ended(self) -> None:
        """End the measurement of a step, or begin that of the next one, if it is one of those that are measured."""
        if self._replaced:
            self._actions.update(self._replaced)
            self._replaced.clear()
            if self._step and not self._open:
                self._measured.append(self._step)
            self._forget_step()
        self._left -= 1
        if self._left <= 0 and not self._is_broken:
            self._left = self._every
            # Not yet: a validation may come before the next batch.
            action = self._actions[_FETCHES]
            self._replaced = {_FETCHES: action}
            self._actions[_FETCHES] = _Before(action, self)

    def fetched(self) -> None:
        """The batch of a step that is measured has been fetched."""
        self._actions.update(self._replaced)
        self._replaced = {name: one for name, one in self._actions.items() if one.phase.name in _PHASES}
        self._actions.update({name: _OnDevice(one, self) for name, one in self._replaced.items()})

    def begin(self, phase: str) -> None:
        """The work of an action begins. Never raises."""
        if self._is_broken:
            return
        try:
            if self._is_capturing():
                self._forget_step()
                return
            interval = _Interval(phase, self._event(), self._event())
            (self._open[-1].inner if self._open else self._step).append(interval)
            self._open.append(interval)
            interval.begin.record()
        except Exception as error:
            self._fail(error)

    def end(self) -> None:
        """The work of the action that began last ends. Never raises."""
        try:
            # None is open where its beginning could not be measured.
            if self._open:
                self._open.pop().end.record()
        except Exception as error:
            self._fail(error)

    def take(self) -> dict[str, float]:
        """Read the steps that the device has done.

        Returns:
            Seconds of all measured steps so far, by phase.
        """
        try:
            while self._measured and all(one.is_done for one in self._measured[0]):
                for interval in self._measured.popleft():
                    self._read(interval)
                self.steps += 1
        except Exception as error:
            self._fail(error)
        return dict(self._seconds)

    def _read(self, interval: _Interval) -> float:
        """Add the time of an action, without that of others in it; returns its seconds with them."""
        seconds = interval.begin.elapsed_time(interval.end) / 1e3
        own = seconds - sum(self._read(one) for one in interval.inner)
        self._seconds[interval.phase] = self._seconds.get(interval.phase, 0.0) + max(own, 0.0)
        self._pool += (interval.begin, interval.end)
        return seconds

    def _event(self) -> StreamEvent:
        return self._pool.pop() if self._pool else self._make_event()

    def _forget_step(self) -> None:
        self._step, self._open = [], []

    def _fail(self, error: Exception) -> None:
        self._forget_step()
        self._is_broken = True
        self._measured.clear()
        self._guard.report("the device's time is no longer measured", error)


class _StandIn(Action):
    """Stands in the place of an action, and notes what that notes."""

    __slots__ = ("_action", "_times")

    def __init__(self, action: Action, times: DeviceTimes) -> None:
        super().__init__(action.name, action.phase, deque())
        self._action = action
        self._times = times

    def __enter__(self) -> str:
        """Note that the action begins."""
        return self._action.__enter__()

    def __exit__(self, *raised: object) -> None:
        """Note that it ends."""
        self._action.__exit__(*raised)


class _Before(_StandIn):
    """The action that fetches the batch of a step that is measured."""

    __slots__ = ()

    def __exit__(self, *raised: object) -> None:
        """Note that it ends, and that the measurement begins."""
        super().__exit__(*raised)
        self._times.fetched()


class _OnDevice(_StandIn):
    """An action in a step that is measured."""

    __slots__ = ()

    def __enter__(self) -> str:
        """Note that the action begins, here and on the device."""
        name = super().__enter__()
        self._times.begin(self.phase.name)
        return name

    def __exit__(self, *raised: object) -> None:
        """Note that it ends, there and here."""
        self._times.end()
        super().__exit__(*raised)
