"""Everything that an instrumentation reports to, made for one meter provider."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from time import time_ns
from typing import Any

from opentelemetry.metrics import MeterProvider

from tracelet_otel import semconv
from tracelet_otel._support.environment import trace_carrier
from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.attempts import Attempts
from tracelet_otel.instrumentation.checkpoints import Checkpoints
from tracelet_otel.instrumentation.events import Events
from tracelet_otel.instrumentation.files import Files
from tracelet_otel.instrumentation.hparams import Hyperparameters
from tracelet_otel.instrumentation.launching import Launching
from tracelet_otel.instrumentation.outcome import Outcome
from tracelet_otel.instrumentation.own_files import OwnFiles
from tracelet_otel.instrumentation.own_run import Participation
from tracelet_otel.instrumentation.progress import Progress
from tracelet_otel.instrumentation.recorder import DRAIN_BUDGET_S, Recorder
from tracelet_otel.instrumentation.spool import SpoolWriter
from tracelet_otel.instrumentation.tags import Tags
from tracelet_otel.instrumentation.timing.timing import Timing
from tracelet_otel.instrumentation.timing.verdict import TrainingVerdict
from tracelet_otel.instrumentation.tracing.tracing import PROGRESS_S, Tracing
from tracelet_otel.protocol.events import ERROR, Event
from tracelet_otel.resource.membership import Membership


@dataclass(frozen=True)
class Signals:
    """What a run reports: its rows, hyperparameters, tags, events, progress, outcome, and where its time goes."""

    recorder: Recorder
    hparams: Hyperparameters
    tags: Tags
    events: Events
    spool: SpoolWriter
    files: Files
    own_files: OwnFiles
    checkpoints: Checkpoints
    attempts: Attempts
    progress: Progress
    outcome: Outcome
    membership: Membership
    launching: Launching
    guard: Guard
    timing: Timing | None = None
    """Where the time goes; None where that is not measured."""
    tracing: Tracing | None = None
    """Spans of the training; None where there are none."""
    training_begins: Callable[[], None] = lambda: None
    """Called when a trainer begins to fit, validate or test, and is to be recorded."""

    identity: Mapping[str, Any] = field(default_factory=dict)
    """Resource attributes of a run that no call started; empty for a run that the user has an object of."""
    gradients_every: int = 0
    """The norm of gradients is recorded before every n-th step of an optimizer, n being this number; never for 0."""
    captures_media: bool = False
    """Whether pictures, tables, texts and files are recorded that other loggers are handed."""
    owns_run: bool = True
    """Whether the end of this process ends the run."""
    ranks_apart: bool = False
    """Whether the run keeps the values of ranks apart."""
    tells_summary: bool = True
    """Whether it is shown at the end of the run where the time went."""

    @property
    def time_spent(self) -> str:
        """Where the time of this process's trainings went, as lines of text, once it is settled; empty for nowhere."""
        return self.timing.table if self.timing is not None and self.tells_summary else ""

    def settle(self, outcome: str | None, error: BaseException | None) -> None:
        """Decide the run's final outcome, and judge what its time went to. Call it when nothing trains any more.

        Args:
            outcome: the outcome that the caller asks for; None for how the last training ended.
            error: what ended the process or the `with` block; None for nothing.
        """
        self.outcome.settle(outcome, error)
        self.checkpoints.take()
        self.attempts.look()
        self.own_files.close()
        failure, pruned = self.outcome.failure, self.outcome.pruned
        if failure is not None and self.outcome.value == semconv.OUTCOME_FAILED:
            self.tags.find(failure.tags, f"failed: {failure.line}" if self.owns_run else "")
            self.events.emit(Event(semconv.EVENT_EXCEPTION, time_ns(), failure.line, failure.attributes, ERROR))
        if pruned is not None and self.outcome.value == semconv.OUTCOME_FINISHED:
            self.tags.find({semconv.PRUNED: pruned}, f"pruned: {pruned}" if self.owns_run else "")
        if self.timing is not None:
            self.timing.conclude()
        if self.tracing is not None:
            self.tracing.finish(error)


def make_signals(
    meter_provider: MeterProvider,
    guard: Guard,
    drain_budget_s: float = DRAIN_BUDGET_S,
    participation: Participation | None = None,
    *,
    tells_rank: bool = False,
) -> Signals:
    """Create the instruments on a meter provider.

    Args:
        meter_provider: where they are created.
        guard: where errors are reported.
        drain_budget_s: how long one collection may drain the queue of rows, in seconds.
        participation: what part this process has in the run; None for that of its only process.
        tells_rank: whether each point has the rank as an attribute, for a resource that may lack it as it is not ours.
    """
    part = participation or Participation()
    membership = part.membership
    # Created first, so that a collection reads the end before it drains the queue. In the other order, a row queued in
    # between would be exported after the report of the end.
    outcome = Outcome(meter_provider, owns_run=part.owns_run, last_value=lambda: recorder.last_unix_nano)
    recorder = Recorder(meter_provider, guard, drain_budget_s, (lambda: membership.rank) if tells_rank else None)
    tags = Tags(meter_provider, guard)
    if part.owns_run:
        # A rank that starts as a copy of the owner would set back what has another value by then.
        tags.begin(part.tags, part.note)
    events = Events(guard)
    spool = SpoolWriter(part.journals, guard)
    files = Files(spool)

    def tell(verdict: TrainingVerdict) -> None:
        text = f"{verdict.name}: {verdict.text}"
        # Only the process that owns the run knows its note, and adds to it.
        tags.find({semconv.VERDICT: verdict.name}, text if part.owns_run else "")
        found = {**verdict.attributes, semconv.VERDICT_SHARE: verdict.share}
        events.emit(Event(semconv.EVENT_VERDICT, time_ns(), text, found))

    return Signals(
        recorder=recorder,
        hparams=Hyperparameters(meter_provider, guard),
        tags=tags,
        events=events,
        spool=spool,
        files=files,
        own_files=OwnFiles(files, spool, guard, is_wanted=part.tracks_environment),
        checkpoints=Checkpoints(meter_provider, guard, events, spool, part.checkpoints),
        attempts=Attempts(meter_provider, guard, tags, events, membership),
        progress=Progress(meter_provider, guard, membership),
        outcome=outcome,
        membership=membership,
        launching=part.launching,
        guard=guard,
        timing=Timing(meter_provider, guard, tell) if part.tracks_time else None,
        gradients_every=part.gradients_every,
        captures_media=part.captures_media,
        owns_run=part.owns_run,
        ranks_apart=part.ranks_apart,
        tells_summary=part.tells_summary,
    )


def traced(
    signals: Signals, meter_provider: MeterProvider, run_id: Callable[[], str], progress_s: float = PROGRESS_S
) -> Signals:
    """Signals that also have spans, where it is measured what the time goes to.

    Args:
        signals: the others.
        meter_provider: where the instruments are created.
        run_id: returns the run's id; empty as long as it is not known.
        progress_s: after how many seconds of a span a part of it becomes a span of its own.
    """
    if signals.timing is None:
        return signals
    tracing = Tracing(meter_provider, signals.guard, run_id, trace_carrier(), progress_s)
    signals.timing.actions.spans, signals.timing.tracing = tracing.notes, tracing
    return replace(signals, tracing=tracing)
