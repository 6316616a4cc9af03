"""All that an instrumentation reports to, made for one meter provider."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from opentelemetry.metrics import MeterProvider

from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.hparams import Hyperparameters
from tracelet_otel.instrumentation.launching import Launching, NoLaunching
from tracelet_otel.instrumentation.outcome import Outcome
from tracelet_otel.instrumentation.progress import Progress
from tracelet_otel.instrumentation.recorder import DRAIN_BUDGET_S, Recorder
from tracelet_otel.resource.membership import Membership


@dataclass(frozen=True)
class Signals:
    """What a run reports: its rows, its hyperparameters, how far it is and how it stands."""

    recorder: Recorder
    hparams: Hyperparameters
    progress: Progress
    outcome: Outcome
    membership: Membership
    launching: Launching
    guard: Guard
    training_begins: Callable[[], None] = lambda: None
    """Called when a trainer begins to fit, validate or test, and is to be recorded."""


def make_signals(
    meter_provider: MeterProvider,
    guard: Guard,
    drain_budget_s: float = DRAIN_BUDGET_S,
    membership: Membership | None = None,
    launching: Launching | None = None,
    *,
    owns_run: bool = True,
    tells_rank: bool = False,
) -> Signals:
    """Create the instruments on a meter provider.

    Args:
        meter_provider: where they are created.
        guard: where errors end.
        drain_budget_s: see `Recorder`.
        membership: of this process.
        launching: told of trainings that may start processes.
        owns_run: see `Outcome`.
        tells_rank: whether each point says which rank logged it, as a resource that is not ours may not.
    """
    membership = membership or Membership()
    # Asked first: that nothing more comes must not be said ahead of rows that are queued meanwhile.
    outcome = Outcome(meter_provider, owns_run=owns_run, last_value=lambda: recorder.last_unix_nano)
    recorder = Recorder(meter_provider, guard, drain_budget_s, (lambda: membership.rank) if tells_rank else None)
    return Signals(
        recorder=recorder,
        hparams=Hyperparameters(meter_provider, guard),
        progress=Progress(meter_provider, guard, membership),
        outcome=outcome,
        membership=membership,
        launching=launching or NoLaunching(),
        guard=guard,
    )
