"""Whose run it is that an instrumentor reports to where nobody gives it one: that of the SDK's configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tracelet_otel._support.environment import environment
from tracelet_otel._support.spawned import is_started_by_multiprocessing
from tracelet_otel.instrumentation.launching import Launching, NoLaunching
from tracelet_otel.resource.membership import Membership
from tracelet_otel.resource.rank_info import rank_info_of

if TYPE_CHECKING:
    from tracelet_otel.instrumentation.signals import Signals


@dataclass(frozen=True)
class Participation:
    """What this process is to its run."""

    membership: Membership
    launching: Launching
    owns_run: bool = True
    """Whether the run ends with this process, and not only its rank."""


class OwnRun(Protocol):
    """A run that begins by itself."""

    def begin(self) -> Participation | None:
        """Lightning is there, and something may be logged; None where this process reports nothing."""
        ...

    def watch(self, signals: Signals) -> None:
        """What is going to be logged is reported there."""
        ...

    def training_begins(self) -> None:
        """A trainer begins to fit, validate or test."""
        ...

    def end(self) -> None:
        """The process ends, and nothing more is logged."""
        ...


class Nobodys:
    """An `OwnRun` of which only the SDK knows: its exporters are none of ours."""

    def begin(self) -> Participation | None:
        """See `OwnRun.begin`."""
        # A rank that is started as a copy has the resource of another process.
        if is_started_by_multiprocessing():
            return None
        return Participation(Membership(rank_info_of(environment())), NoLaunching())

    def watch(self, signals: Signals) -> None:
        """See `OwnRun.watch`."""

    def training_begins(self) -> None:
        """See `OwnRun.training_begins`."""

    def end(self) -> None:
        """See `OwnRun.end`."""
