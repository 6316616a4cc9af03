"""Sums the time of each phase, from the beginnings and ends of actions. Pure: times come with the events."""

from __future__ import annotations

from typing import Final, NamedTuple

from tracelet_otel import semconv
from tracelet_otel.instrumentation.timing.actions import Action, Events
from tracelet_otel.instrumentation.timing.marks import BatchEnds, EpochBegins, Mark, RowLogged
from tracelet_otel.instrumentation.timing.phases import TrainingPhase, within
from tracelet_otel.instrumentation.timing.slow import Durations, SlowStep
from tracelet_otel.instrumentation.timing.steps import Steps

FIT: Final = "fit"
_BETWEEN_STEPS: Final = (semconv.PHASE_CHECKPOINT, semconv.PHASE_VALIDATION)
"""Phases whose time, with all that occurs in it, belongs to no step."""


class Spent(NamedTuple):
    """What time is summed by."""

    phase: TrainingPhase
    stage: str
    """What the trainer was called for: `fit`, `validate`, `test` or `predict`."""

    @property
    def attributes(self) -> dict[str, str]:
        """Attributes of a point with the time."""
        return {**self.phase.attributes, semconv.STAGE: self.stage}


class _Context:
    """Actions that are open within each other: what the time goes to while they are, and what more may begin."""

    __slots__ = ("at_step_ns", "inner", "is_between_steps", "ns", "spent")

    def __init__(self, spent: Spent | None, *, is_between_steps: bool = False) -> None:
        self.is_between_steps = is_between_steps
        self.spent = spent
        """None where no action is open."""
        self.ns = 0
        """Time so far."""
        self.at_step_ns = 0
        """Time so far when the last step ended."""
        self.inner: dict[Action, _Context] = {}
        """By an action that begins here, the context that it makes. Actions that repeat come to the same one."""


class TimeAccount:
    """The time of each phase so far, and the steps.

    The time between two events goes to the innermost action that is open then. So phases sum to the time in which a
    trainer runs: the outermost action is the trainer's call, and what no action within it takes is Lightning's own.
    """

    def __init__(self) -> None:
        self._outside = _Context(None)
        self._now = self._outside
        """The context after the last event."""
        self._open: list[tuple[Action, _Context]] = []
        """Actions that are open, each with the context in which it began."""
        self._by_spent: dict[Spent, list[_Context]] = {}
        self._contexts: list[_Context] = []
        self._between_steps: list[_Context] = []
        self._durations = Durations()
        self.steps = Steps()
        self.last_step_ns = 0
        """When the last step ended."""
        self.slow: list[SlowStep] = []
        """Slow steps since somebody has taken the list."""
        self._last_ns = 0

    @property
    def spent_ns(self) -> dict[Spent, int]:
        """Nanoseconds by phase and stage."""
        return {spent: sum(one.ns for one in contexts) for spent, contexts in self._by_spent.items()}

    def take(self, events: Events) -> None:
        """Take note of beginnings and ends of actions, in order; they are removed.

        Args:
            events: actions, each followed by the time in nanoseconds, which is negative where it ended; and marks,
                each followed by its time, which is negative too.
        """
        take, still_open = events.popleft, self._open
        now, last_ns = self._now, self._last_ns
        # The time of the last action may be about to come. Little is done for each: a step has dozens of them.
        while pairs := len(events) // 2:
            for _ in range(pairs):
                action, time_ns = take(), take()
                if time_ns.__class__ is not int:
                    # Ctrl-C came between the two: there is no time of this action, and this is the next one.
                    events.appendleft(time_ns)
                    continue
                begins = time_ns >= 0
                if not begins:
                    time_ns = -time_ns
                # Another thread may have read the clock, for `settle`, just before an event that it gets later.
                if time_ns > last_ns:
                    now.ns += time_ns - last_ns
                    last_ns = time_ns
                if begins:
                    still_open.append((action, now))
                    now = now.inner.get(action) or self._begun(action, now)
                elif still_open and still_open[-1][0] is action:
                    now = still_open.pop()[1]
                elif isinstance(action, Mark):
                    self._pass(action, last_ns)
                else:
                    now = self._ended(action, now)
        self._now, self._last_ns = now, last_ns

    def _pass(self, mark: Mark, now_ns: int) -> None:
        """Take note of a moment of a training."""
        if isinstance(mark, RowLogged):
            has_times = self.steps.has_times(mark.step)
            mark.values = self.steps.times(mark.step, self._fit_ns()) if has_times else {}
            return
        clock_ns = now_ns - sum(context.ns for context in self._between_steps)
        if isinstance(mark, BatchEnds):
            self.last_step_ns = now_ns
            duration_ns = self.steps.batch_ends(clock_ns, mark.samples)
            median_ns = None if duration_ns is None else self._durations.add(duration_ns, now_ns)
            if duration_ns is not None and median_ns is not None:
                self.slow.append(SlowStep(self.steps.count, now_ns, duration_ns, median_ns, self._since_last_step()))
        elif isinstance(mark, EpochBegins):
            self.steps.epoch_begins(clock_ns)
        for context in self._contexts:
            context.at_step_ns = context.ns

    def _since_last_step(self) -> dict[TrainingPhase, int]:
        """Nanoseconds since a step began, by phase."""
        found: dict[TrainingPhase, int] = {}
        for context in self._contexts:
            if not context.is_between_steps and context.spent is not None and context.ns > context.at_step_ns:
                phase = context.spent.phase
                found[phase] = found.get(phase, 0) + context.ns - context.at_step_ns
        return found

    def _fit_ns(self) -> dict[str, int]:
        """Nanoseconds in trainings by phase."""
        found: dict[str, int] = {}
        for spent, ns in self.spent_ns.items():
            if spent.stage == FIT:
                found[spent.phase.name] = found.get(spent.phase.name, 0) + ns
        return found

    def settle(self, now_ns: int) -> None:
        """Account for the time up to now; an action may take long, or never end."""
        if now_ns > self._last_ns:
            self._now.ns += now_ns - self._last_ns
            self._last_ns = now_ns

    def _begun(self, action: Action, now: _Context) -> _Context:
        outer = now.spent
        if outer is None:
            spent = Spent(action.phase, action.stage)
        else:
            spent = Spent(within(outer.phase, action.phase), action.stage or outer.stage)
        is_between_steps = now.is_between_steps or spent.phase.name in _BETWEEN_STEPS
        context = now.inner[action] = _Context(spent, is_between_steps=is_between_steps)
        self._contexts.append(context)
        if is_between_steps:
            self._between_steps.append(context)
        self._by_spent.setdefault(spent, []).append(context)
        return context

    def _ended(self, action: Action, now: _Context) -> _Context:
        """The context after an action ended that is not the innermost one: the ends of those within it are lost.

        Its own beginning may be lost instead, as where it began before its trainer was watched; then nothing changes.
        """
        for place in range(len(self._open) - 1, -1, -1):
            if self._open[place][0] is action:
                now = self._open[place][1]
                del self._open[place:]
                break
        return now
