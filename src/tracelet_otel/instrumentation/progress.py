"""Progress of the training, as points of observable gauges. They also show that the process is alive."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.resource.membership import Membership


class Progress:
    """Step and epoch of the last trainer, none before there is one, and how many processes train together.

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

    def watch(self, trainer: Any, step: Callable[[Any], int]) -> None:
        """Report this trainer from now on. Only a weak reference to it is kept.

        Args:
            trainer: the trainer.
            step: returns the trainer's step, on the axis on which it logs.
        """
        self._trainer, self._step_of = weakref.ref(trainer), step

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
