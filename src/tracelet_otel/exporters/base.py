"""The interface that each experiment tracker implements.

An implementation is a thin adapter around the tracker's client and does no more than the interface asks for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from tracelet_otel._support.guard import Guard
from tracelet_otel.protocol.decode import Param, Reading
from tracelet_otel.protocol.run_identity import RunIdentity


@dataclass(frozen=True, slots=True)
class RunLocation:
    """Where people find a run in a tracker."""

    url: str
    """Address or path at which people look at the run."""
    hint: str = ""
    """What has to be done before the run can be seen there; empty if nothing."""
    attempt: int | None = None
    """The last attempt at the run that the tracker knew of (`semconv.RUN_ATTEMPT`) when the run was opened; 0 where the
    run is new, None where it does not tell."""
    id: str | None = None
    """The tracker's own id of the run, by which its client finds it; None where it does not tell."""


@runtime_checkable
class ReportsProblems(Protocol):
    """A `Tracker` that meets problems for which nothing of what it was given is refused."""

    guard: Guard
    """Where it reports them; set before `open`."""


class Tracker(Protocol):
    """An experiment tracker with one run.

    `open` is called until it succeeds, then the others in any order, then `close` until it succeeds. Nothing is called
    after that. All calls come from one thread, and every method may block.

    Each method raises `TrackerUnavailableError` where the same call may succeed later; it is then repeated, and so it
    is after an `OSError`. `RefusedError` and `RunLostError` are final. Any other exception counts as a bug of the
    tracker: it gets nothing more of the run, and what waits for it is counted as refused.

    A relay that was killed is followed by another one, which opens the same run in a new tracker. It sends again what
    it does not know to be stored: the last batch of readings, and all hyperparameters and tags.
    """

    name: str
    """Name of the backend, as in `start_logging(backend=...)`."""
    batch_size: int
    """The most readings that one call of `log_readings` takes."""

    def open(self, run: RunIdentity) -> RunLocation:
        """Create the run, or continue it where it exists: a process before this one may have been killed.

        Args:
            run: id, name, project, attributes and start of the run.

        Raises:
            ConfigurationError: `settings.run_id` names a run to continue, and there is no such run.
            TraceletError: the run can be neither created nor continued; the message says why.
        """
        ...

    def refusals(self, readings: Sequence[Reading]) -> Mapping[int, str]:
        """Find readings that can never be stored, as far as that is known before they are sent.

        Returns:
            Why each of them cannot be stored, by its index in `readings`.
        """
        ...

    def log_readings(self, readings: Sequence[Reading]) -> None:
        """Store all of the readings, or none of them.

        Args:
            readings: at most `batch_size`, without those that `refusals` has found.

        Raises:
            RefusedError: at least one of them will never be accepted.
        """
        ...

    def log_params(self, params: Mapping[str, Param]) -> None:
        """Store hyperparameters that are new or have changed.

        After five attempts, readings that wait go first.

        Args:
            params: values by name, as in `model/width`. `Param.text` is the value as text, `Param.value` the number,
                bool or None that it was.
        """
        ...

    def set_tags(self, tags: Mapping[str, str]) -> Mapping[str, str]:
        """Store tags of the run: some that are new, or have another value. All others stay as they are.

        A tracker without this method, such as one that was written before it was here, gets everything else. After
        five attempts, readings that wait go first.

        Args:
            tags: values by name. A value may be empty. The tag `semconv.NOTE` is the run's description, and belongs
                where the tracker shows one.

        Returns:
            Why the store does not have all of a tag, by its name, for instance where a value was too long and was cut.
            Empty where it has all of them.
        """
        ...

    def close(self, outcome: str | None, end_unix_nano: int | None = None) -> None:
        """End the run.

        Args:
            outcome: one of `semconv.OUTCOMES`. Anything else, `running` and None among it, means that the training was
                killed, or that nobody knows how it ended.
            end_unix_nano: when the run ended, in nanoseconds since the epoch; None for now.
        """
        ...
