"""All that an instrumentation reports to, made for one meter provider."""

from __future__ import annotations

from dataclasses import dataclass

from opentelemetry.metrics import MeterProvider

from tracelet_otel.guard import Guard
from tracelet_otel.instrumentation.hparams import Hyperparameters
from tracelet_otel.instrumentation.outcome import Outcome
from tracelet_otel.instrumentation.recorder import Recorder


@dataclass(frozen=True)
class Signals:
    """What a run reports: its rows, its hyperparameters and how it stands."""

    recorder: Recorder
    hparams: Hyperparameters
    outcome: Outcome
    guard: Guard


def make_signals(meter_provider: MeterProvider, guard: Guard) -> Signals:
    """Create the instruments on a meter provider."""
    return Signals(
        recorder=Recorder(meter_provider, guard),
        hparams=Hyperparameters(meter_provider, guard),
        outcome=Outcome(meter_provider),
        guard=guard,
    )
