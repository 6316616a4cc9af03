"""What is known of a run, and what a request adds to that. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tracelet_otel.protocol.decode import Batch, Param, Report
from tracelet_otel.protocol.hparam_reports import Reports
from tracelet_otel.relay.members import Members
from tracelet_otel.relay.packing import Share
from tracelet_otel.relay.parts import RequestPart, joined, process_of, share, without_known
from tracelet_otel.relay.ranges import IntegerRanges, ranges, seen_of


@dataclass(frozen=True)
class Known:
    """All that has come of a run so far, except the values of its readings."""

    seen: Mapping[str, IntegerRanges] = field(default_factory=dict)
    """Sequence numbers of all samples that have come, by process (`parts.stream_of`)."""
    reports: Reports = field(default_factory=Reports)
    """The hyperparameters that were reported."""
    ended: bool = False
    """Whether the run's owner has ended it."""
    end_unix_nano: int | None = None
    """When the run ended, in nanoseconds since the epoch; None where no process has reported it."""

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Known:
        """Read the state of a journal, which has the keys of `News.state`."""
        return cls(
            seen_of(state.get("seen", {})),
            Reports(state.get("hparams")),
            state.get("ended", False),
            state.get("end_unix_nano"),
        )

    @property
    def is_empty(self) -> bool:
        """Whether no sample has come."""
        return not any(one.ranges for one in self.seen.values())

    @property
    def memory(self) -> dict[str, Any]:
        """State for a new journal, where the run goes on after its journal was deleted."""
        return {"seen": ranges(self.seen), "hparams": self.reports.state}

    def complete_to(self, process: str) -> int:
        """The sequence number up to which all samples of a process have come; 0 where the first is missing."""
        return self.seen[process].complete_to if process in self.seen else 0


@dataclass(frozen=True)
class News:
    """What a request adds to what is known of its run."""

    fresh: Sequence[Batch]
    """The batches of the request, without the readings that have come before."""
    shares: Sequence[Share]
    """The readings of `fresh` that are to be merged with those of other ranks."""
    params: Sequence[tuple[str, Param]]
    """New hyperparameters, in their order."""
    outcomes: Mapping[str, str]
    """The latest outcome that each process has reported, with the keys of `Members.outcomes`."""
    before: Known
    """What was known before the request."""
    after: Known
    """What is known with the request."""

    @property
    def has_rows(self) -> bool:
        """Whether there are new readings that were logged, and not only readings of GPU and host."""
        return any(batch.readings for batch in self.fresh if not batch.is_system)

    @property
    def state(self) -> dict[str, Any]:
        """Values for the journal to store, by key."""
        state = {
            "outcomes": self.outcomes,
            "ended": self.after.ended,
            "end_unix_nano": self.after.end_unix_nano,
            "seen": ranges(self.after.seen),
        }
        # Only where they have changed: a large model has many, and a request should not cost more for that.
        return {**state, "hparams": self.after.reports.state} if self.has_reports else state

    @property
    def has_reports(self) -> bool:
        """Whether the request has reports of hyperparameters that are new, even if the values are the same."""
        return self.after.reports is not self.before.reports

    def says_more_than(self, outcomes: Mapping[str, str]) -> bool:
        """Whether the request has anything new beside readings.

        Args:
            outcomes: the outcomes before the request (`Members.outcomes`).
        """
        return bool(self.params) or (self.after.ended, self.outcomes) != (self.before.ended, outcomes)


def news_of(part: RequestPart, known: Known, members: Members) -> News:
    """Compare a request with what is known of its run, and change nothing."""
    seen = {process: IntegerRanges(one.ranges) for process, one in known.seen.items()}
    fresh = [without_known(batch, seen) for batch in part.batches]
    reports, params = known.reports, []
    if any(reports.has_news(process_of(batch.resource), _params(batch)) for batch in part.batches):
        reports = reports.copy()
        for batch in part.batches:
            params += reports.add(process_of(batch.resource), _params(batch))
    outcomes = dict(members.outcomes)
    for batch in part.batches:
        outcomes.update(members.said(process_of(batch.resource), batch))
    ends = (batch.end_unix_nano for batch in part.batches if batch.end_unix_nano)
    return News(
        fresh,
        joined(found for batch in fresh if (found := share(batch)) is not None),
        params,
        outcomes,
        known,
        Known(
            seen, reports, known.ended or any(batch.ended for batch in part.batches), next(ends, known.end_unix_nano)
        ),
    )


def _params(batch: Batch) -> tuple[Report, ...]:
    """The hyperparameters of a batch; none where it is of a rank other than 0.

    All ranks have the same ones. If they had not, nothing could tell which to take.
    """
    return () if batch.rank else batch.params
