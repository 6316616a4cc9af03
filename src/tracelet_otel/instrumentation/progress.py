"""Progress of the training, as points of observable gauges. They also show that the process is alive."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any, NamedTuple

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.resource.membership import Membership


class Advance(NamedTuple):
    """How far a training has come."""

    share: float
    """Of all that it may do: from 0 to 1."""
    is_running: bool
    limit_s: float | None = None
    """Seconds that it has left, where it is limited in time."""


class Remaining:
    """Estimates how long a training still takes, from the pace that it has had. Pure: the time is handed in."""

    def __init__(self) -> None:
        self._first: float | None = None
        self._began: tuple[float, float] | None = None
        """Time and share when it was first seen to have moved. What is before that is setup, and no measure."""

    def estimate_s(self, now_s: float, advance: Advance) -> float | None:
        """Seconds left; None as long as there is no pace to judge by.

        Args:
            now_s: the time, on any clock, in seconds.
            advance: how far the training has come.
        """
        if self._first is None:
            self._first = advance.share
        if self._began is None:
            if advance.share > self._first:
                self._began = now_s, advance.share
            return advance.limit_s
        began_s, began = self._began
        if advance.share <= began or now_s <= began_s:
            return advance.limit_s
        left_s = (1 - advance.share) * (now_s - began_s) / (advance.share - began)
        return left_s if advance.limit_s is None else min(left_s, advance.limit_s)


class Progress:
    """Step, epoch and progress of the last trainer, none before there is one, and how many processes train together.

    Args:
        meter_provider: where the instruments are created.
        guard: where a trainer that cannot be read is reported.
        membership: of this process.
    """

    def __init__(self, meter_provider: MeterProvider, guard: Guard, membership: Membership) -> None:
        self._guard = guard
        self._membership = membership
        self._trainer: Callable[[], Any] = lambda: None
        self._step_of: Callable[[Any], int] = lambda _: 0
        self._advance_of: Callable[[Any], Advance | None] = lambda _: None
        self._remaining = Remaining()
        self._step = 0
        meter = meter_provider.get_meter(semconv.SCOPE_RUN)
        meter.create_observable_gauge(
            semconv.WORLD_SIZE,
            callbacks=[self._observe_world_size],
            unit=semconv.WORLD_SIZE_UNIT,
            description="How many processes train together",
        )
        meter.create_observable_gauge(
            semconv.GLOBAL_STEP,
            callbacks=[lambda _: self._observe("global_step")],
            unit=semconv.GLOBAL_STEP_UNIT,
            description="Optimizer steps that the trainer has made",
        )
        meter.create_observable_gauge(
            semconv.TRAINER_EPOCH,
            callbacks=[lambda _: self._observe("current_epoch")],
            unit=semconv.TRAINER_EPOCH_UNIT,
            description="The trainer's epoch",
        )
        meter.create_observable_gauge(
            semconv.TRAINER_PROGRESS,
            callbacks=[self._observe_share],
            unit=semconv.TRAINER_PROGRESS_UNIT,
            description="Share of its steps, epochs or time that the last fit has done",
        )
        meter.create_observable_gauge(
            semconv.TRAINER_TIME_REMAINING,
            callbacks=[self._observe_remaining],
            unit=semconv.TRAINER_TIME_REMAINING_UNIT,
            description="Time that the fit still takes at its pace so far",
        )

    def watch(
        self, trainer: Any, step: Callable[[Any], int], advance: Callable[[Any], Advance | None] = lambda _: None
    ) -> None:
        """Report this trainer from now on. Only a weak reference to it is kept.

        Args:
            trainer: the trainer.
            step: returns the trainer's step, on the axis on which it logs.
            advance: returns how far the trainer has come; None where it has no limit.
        """
        self._trainer, self._step_of, self._advance_of = weakref.ref(trainer), step, advance
        self._remaining = Remaining()

    @property
    def step(self) -> int:
        """Current or last step of the last trainer, on the axis on which it logs; 0 before there is one."""
        trainer = self._trainer()
        if trainer is not None:
            try:
                self._step = int(self._step_of(trainer))
            except Exception as error:
                self._guard.report("the trainer's step could not be read", error)
        return self._step

    def _advance(self) -> Advance | None:
        trainer = self._trainer()
        if trainer is None:
            return None
        try:
            return self._advance_of(trainer)
        except Exception as error:
            self._guard.report("the trainer's progress could not be read", error)
            return None

    def _observe_share(self, _options: CallbackOptions) -> Iterable[Observation]:
        advance = self._advance()
        if advance is not None:
            yield Observation(advance.share)

    def _observe_remaining(self, _options: CallbackOptions) -> Iterable[Observation]:
        advance = self._advance()
        if advance is not None and advance.is_running:
            left_s = self._remaining.estimate_s(monotonic(), advance)
            if left_s is not None:
                yield Observation(left_s)

    def _observe(self, name: str) -> Iterable[Observation]:
        trainer = self._trainer()
        if trainer is None:
            return
        try:
            yield Observation(int(getattr(trainer, name)))
        except Exception as error:
            self._guard.report(f"the trainer's {name} could not be read", error)

    def _observe_world_size(self, _options: CallbackOptions) -> Iterable[Observation]:
        if self._membership.world_size is not None:
            yield Observation(self._membership.world_size)
