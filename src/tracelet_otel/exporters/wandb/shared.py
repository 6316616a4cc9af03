"""The run that `WandbTracker` has begun, as those see it who use it on another thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

from tracelet_otel.exporters.wandb.history import RunHistory

if TYPE_CHECKING:
    import wandb

_T = TypeVar("_T")


class SharesRun(Protocol):
    """A run that two threads use.

    Raises from each method:
        TrackerUnavailableError: there is no run yet or any more, or wandb-core has died meanwhile.
    """

    def begun(self) -> wandb.Run:
        """The run. Where wandb-core has died, it is begun again."""
        ...

    def beside(self, run: wandb.Run, call: Callable[[], _T]) -> _T:
        """Call W&B's client for something that may take long. Rows are logged meanwhile."""
        ...

    def alone(self, run: wandb.Run, call: Callable[[RunHistory], _T]) -> _T:
        """Call W&B's client, with the run's history, for something that is done soon. No row is logged meanwhile.

        Args:
            run: the run, which `begun` has returned. Where another one has taken its place, nothing is called.
            call: is called.
        """
        ...
