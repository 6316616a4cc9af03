"""The attempts of a run, as counters, and where trainings resume from a checkpoint, as an event and a gauge."""

from __future__ import annotations

import os
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel._support.text import encodable
from tracelet_otel.instrumentation.events import Events
from tracelet_otel.instrumentation.tags import Tags
from tracelet_otel.protocol.events import Event
from tracelet_otel.resource.attempts import Again, Attempt
from tracelet_otel.resource.membership import Membership


@dataclass(frozen=True, slots=True)
class BegunFit:
    """A fit that is about to make its first step."""

    time_unix_nano: int
    step: int
    """Optimizer steps that its trainer has made before."""
    epoch: int
    checkpoint: str
    """Path of the checkpoint that it resumes from; empty where it resumes from one that nobody has named."""
    resumes: bool
    """Whether it resumes from a checkpoint."""


class Attempts:
    """What this attempt has in common with those before, reported where metrics are collected.

    The training thread only appends a note to a deque. In a forked child nothing is written.

    Args:
        meter_provider: where the instruments are created.
        guard: where errors are reported.
        tags: of the run.
        events: of the run.
        membership: of this process.
    """

    def __init__(
        self, meter_provider: MeterProvider, guard: Guard, tags: Tags, events: Events, membership: Membership
    ) -> None:
        self._guard = guard
        self._tags = tags
        self._events = events
        self._membership = membership
        self._pid = os.getpid()
        self._fits: deque[BegunFit] = deque()
        self._taken: list[BegunFit] = []
        """Fits whose step is not compared yet with that of the attempt before: the attempt may become known later."""
        self._trainer: Callable[[], Any] = lambda: None
        self._again: Again | None = None
        self._resumed_step: int | None = None
        self._has_trained = False
        meter = meter_provider.get_meter(semconv.SCOPE_RUN)
        meter.create_observable_counter(
            semconv.RUN_RESTARTS,
            callbacks=[self._observe_restarts],
            unit=semconv.RUN_RESTARTS_UNIT,
            description="How often the script of this run was started again for its job",
        )
        meter.create_observable_counter(
            semconv.RUN_LOST_STEPS,
            callbacks=[self._observe_lost_steps],
            unit=semconv.RUN_LOST_STEPS_UNIT,
            description="Steps that are done again, as an attempt has not come to save them",
        )
        meter.create_observable_counter(
            semconv.RUN_DOWNTIME,
            callbacks=[self._observe_downtime],
            unit=semconv.RUN_DOWNTIME_UNIT,
            description="Time between attempts, in which nothing ran",
        )
        meter.create_observable_gauge(
            semconv.RESUMED_STEP,
            callbacks=[self._observe_resumed_step],
            unit=semconv.RESUMED_STEP_UNIT,
            description="Step at which the last fit began that resumed from a checkpoint",
        )

    def begin(self, again: Again) -> None:
        """Take the attempt that this process makes, once its run is open. May be called on any thread.

        Args:
            again: the attempt, of the process that owns the run.
        """
        self._again = again
        if again.attempt.number > 1:
            self._tell(again.attempt, "began")
        elif again.is_certain:
            # Another machine may know of this one by its tag only.
            self._tags.find({semconv.RUN_ATTEMPT: "1"}, "")
        self.look()

    def fit_begins(self, trainer: Any, fit: BegunFit) -> None:
        """Take note of a fit. Called on the training thread; makes no system call.

        Args:
            trainer: only a weak reference to it is kept.
            fit: what is known of it.
        """
        self._trainer = weakref.ref(trainer)
        self._fits.append(fit)

    def look(self) -> None:
        """Report what is new, and write down how far this attempt is. Never raises."""
        if os.getpid() != self._pid:
            return
        try:
            while self._fits:
                self._take(self._fits.popleft())
            if self._again is not None:
                self._keep(self._again)
        except Exception as error:
            self._guard.report("how far this attempt is will not be known to the next", error)

    def _take(self, fit: BegunFit) -> None:
        self._taken.append(fit)
        if not fit.resumes:
            return
        self._resumed_step = fit.step
        if not self._membership.rank:
            known: dict[str, Any] = {semconv.STEP: fit.step, semconv.EPOCH: fit.epoch}
            if fit.checkpoint:
                known[semconv.FILE_PATH] = encodable(fit.checkpoint)
            text = f"resumed at step {fit.step}"
            self._events.emit(Event(semconv.EVENT_TRAINING_RESUMED, fit.time_unix_nano, text, known))

    def _keep(self, again: Again) -> None:
        attempt = again.attempt
        for fit in self._taken:
            attempt = self._with_fit(attempt, fit)
        self._taken.clear()
        trainer = self._trainer()
        if trainer is not None and self._has_trained:
            attempt = replace(attempt, step=int(trainer.global_step))
        self._again = replace(again, attempt=replace(attempt, seen_s=time.time()))
        again.keep(self._again.attempt)

    def _with_fit(self, attempt: Attempt, fit: BegunFit) -> Attempt:
        """The attempt with a fit more. The first one does again what the attempt before had done and not saved."""
        if self._has_trained:
            return replace(attempt, trainings=attempt.trainings + 1, step=fit.step)
        lost = attempt.lost_steps
        if lost is not None and attempt.trainings:
            # Of a script that trains several times, nobody knows which of its trainings this one is.
            is_known = attempt.step is not None and attempt.trainings == 1
            lost = lost + max((attempt.step or 0) - fit.step, 0) if is_known else None
        attempt = replace(attempt, trainings=1, step=fit.step, lost_steps=lost)
        self._has_trained = True
        if attempt.number > 1:
            self._tell(attempt, f"resumed at step {fit.step}" if fit.resumes else f"began to train at step {fit.step}")
        return attempt

    def _tell(self, attempt: Attempt, what: str) -> None:
        """Say in tags, and below the note of the run, which attempt this is, and what was lost as far as it is known.

        Args:
            attempt: what is known of it.
            what: what it has done.
        """
        tags, text = {semconv.RUN_ATTEMPT: str(attempt.number)}, f"attempt {attempt.number} {what}"
        if attempt.lost_steps is not None and self._has_trained:
            tags[semconv.RUN_LOST_STEPS] = str(attempt.lost_steps)
            text += f"; steps done again so far: {attempt.lost_steps}"
        if attempt.downtime_s is not None:
            tags[semconv.RUN_DOWNTIME] = f"{attempt.downtime_s:.1f}"
            text += f"; seconds between attempts so far: {attempt.downtime_s:.1f}"
        self._tags.find(tags, text)

    def _observe_restarts(self, _options: CallbackOptions) -> Iterable[Observation]:
        # The instrument was created first, so the others are observed after this.
        self.look()
        if (known := self._known) is not None:
            yield Observation(known.number - 1)

    def _observe_lost_steps(self, _options: CallbackOptions) -> Iterable[Observation]:
        known = self._known
        if known is not None and known.lost_steps is not None and self._has_trained:
            yield Observation(known.lost_steps)

    def _observe_downtime(self, _options: CallbackOptions) -> Iterable[Observation]:
        known = self._known
        if known is not None and known.downtime_s is not None:
            yield Observation(known.downtime_s)

    def _observe_resumed_step(self, _options: CallbackOptions) -> Iterable[Observation]:
        if self._resumed_step is not None:
            yield Observation(self._resumed_step)

    @property
    def _known(self) -> Attempt | None:
        """This attempt, where it is one after the first: of the first, nobody knows yet whether it is one."""
        again = self._again
        return again.attempt if again is not None and again.attempt.number > 1 else None
