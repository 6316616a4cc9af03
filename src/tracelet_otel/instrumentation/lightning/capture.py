"""What a run has of the trainers of its process: all that have no run of their own, those of a thread, or one."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Final

from tracelet_otel._support.forks import ProcessLock
from tracelet_otel.instrumentation.lightning.hooks import Hooks
from tracelet_otel.instrumentation.lightning.instrumentor import LightningInstrumentor
from tracelet_otel.instrumentation.lightning.routes import RunsOfTrainers
from tracelet_otel.instrumentation.signals import Signals

_changing: Final = ProcessLock()
"""Held while functions of Lightning are wrapped, which several threads may do at a time."""


class Scope(enum.Enum):
    """Which trainers of a process belong to a run."""

    PROCESS = enum.auto()
    """All trainers for which nobody has said otherwise. A process has one such run at a time."""
    THREAD = enum.auto()
    """All trainers of the thread that has begun the run, from then on."""
    TRAINER = enum.auto()
    """The trainers for which the run was made."""


@dataclass
class Capture:
    """Reports to a run what trainers do, from `begin` to `end`.

    Args:
        scope: which trainers belong to the run.
        trainings: has a run of its own for each of those trainers; None: they are recorded in this run.
    """

    scope: Scope
    trainings: RunsOfTrainers | None
    hooks: Hooks | None = field(default=None, init=False)
    """Where calls are reported; None for the default run, and before `begin`."""
    _has_begun: bool = field(default=False, init=False)

    def begin(self, signals: Signals) -> None:
        """Report to the signals of the run from now on."""
        with _changing:
            self._has_begun = True
            if self.scope is Scope.PROCESS:
                LightningInstrumentor().take_over(signals, self.trainings)
            else:
                self.hooks = LightningInstrumentor().add(signals, self.trainings, isolated=self.scope is Scope.THREAD)

    def end(self) -> None:
        """Report nothing more. Without `begin` it does nothing."""
        with _changing:
            if self.hooks is not None:
                LightningInstrumentor().remove(self.hooks)
            elif self._has_begun:
                LightningInstrumentor().uninstrument()
