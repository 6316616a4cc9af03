"""All that an instrumentation reports to, made for one meter provider."""

from __future__ import annotations

from dataclasses import dataclass

from opentelemetry.metrics import MeterProvider

from tracelet_otel.guard import Guard
from tracelet_otel.instrumentation.hparams import Hyperparameters
from tracelet_otel.instrumentation.outcome import Outcome
from tracelet_otel.instrumentation.recorder import DRAIN_BUDGET_S, Recorder


@dataclass(frozen=True)
class Signals:
    """What a run reports: its rows, its hyperparameters and how it stands."""

    recorder: Recorder
    hparams: Hyperparameters
    outcome: Outcome
    guard: Guard


def make_signals(meter_provider: MeterProvider, guard: Guard, drain_budget_s: float = DRAIN_BUDGET_S) -> Signals:
    """Create the instruments on a meter provider; see `Recorder` for the arguments."""
    return Signals(
        recorder=Recorder(meter_provider, guard, drain_budget_s),
        hparams=Hyperparameters(meter_provider, guard),
        outcome=Outcome(meter_provider),
        guard=guard,
    )
