"""What a tracker has to be able to do; each one is a thin file that does just this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tracelet_otel.protocol.decode import Param, Reading
from tracelet_otel.protocol.run_identity import RunIdentity


@dataclass(frozen=True, slots=True)
class RunLocation:
    """Where a run is."""

    url: str
    """Where people look at it: an address or a path."""
    hint: str = ""
    """What has to be done before they see it there, if anything."""


class Tracker(Protocol):
    """An experiment tracker with one run.

    Every method may block. Besides `RefusedError` and `RunLostError`, which are final, each raises
    `TrackerUnavailableError` where the same call may succeed later.
    """

    name: str
    """The backend's name, as in `start_logging(backend=...)`."""
    batch_size: int
    """The most readings that one call of `log_readings` takes."""

    def open(self, run: RunIdentity) -> RunLocation:
        """Create the run, or continue it where it exists.

        Raises:
            TraceletError: the run cannot be had; the message says why.
        """
        ...

    def refusals(self, readings: Sequence[Reading]) -> Mapping[int, str]:
        """Why some of the readings can never be stored, by their places, as far as that shows before they are sent."""
        ...

    def log_readings(self, readings: Sequence[Reading]) -> None:
        """Store readings, of which it has no `refusals`, all or none.

        Raises:
            RefusedError: at least one of them will never be accepted.
        """
        ...

    def log_params(self, params: Mapping[str, Param]) -> None:
        """Store hyperparameters that are new or have changed."""
        ...

    def close(self, outcome: str | None, end_unix_nano: int | None = None) -> None:
        """End the run.

        Args:
            outcome: one of `semconv.OUTCOME_*`; None where none was reported.
            end_unix_nano: when it ended, in nanoseconds since the epoch; None for now.
        """
        ...
