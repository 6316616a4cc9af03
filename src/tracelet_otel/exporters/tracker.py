"""What a tracker has to be able to do; each one is a thin file that does just this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from tracelet_otel.exporters.identity import RunIdentity
from tracelet_otel.exporters.reading import Reading


class Tracker(Protocol):
    """An experiment tracker with one run.

    Every method may block. Besides `RefusedError` and `RunLostError`, which are final, each raises
    `TrackerUnavailableError` where the same call may succeed later.
    """

    name: str
    """The backend's name, as in `start_logging(backend=...)`."""
    batch_size: int
    """The most readings that one call of `log_readings` takes."""

    def open(self, run: RunIdentity) -> str:
        """Create the run, or continue it where it exists.

        Returns:
            Where people look at it.

        Raises:
            TraceletError: the run cannot be had; the message says why.
        """
        ...

    def log_readings(self, readings: Sequence[Reading]) -> None:
        """Store readings, all or none.

        Raises:
            RefusedError: at least one of them will never be accepted.
        """
        ...

    def log_params(self, params: Mapping[str, str]) -> None:
        """Store hyperparameters that are new or have changed."""
        ...

    def close(self, outcome: str | None) -> None:
        """End the run with an outcome, one of `semconv.OUTCOME_*`; None where none was reported."""
        ...
