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
    """What has come of a run so far, but for the readings themselves."""

    seen: Mapping[str, IntegerRanges] = field(default_factory=dict)
    """Numbers of all samples that have come, by process."""
    reports: Reports = field(default_factory=Reports)
    """Hyperparameters."""
    ended: bool = False
    """Whether the run's owner has ended it."""
    end_unix_nano: int | None = None
    """When it ended, in nanoseconds since the epoch; None where nobody has said it."""

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Known:
        """What a journal remembers, under the keys of `News.state`."""
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
        """What a journal has to begin with, where the run goes on after its journal is gone."""
        return {"seen": ranges(self.seen), "hparams": self.reports.state}

    def complete_to(self, process: str) -> int:
        """The sequence number up to which each sample of a process has come."""
        return self.seen[process].complete_to if process in self.seen else 0


@dataclass(frozen=True)
class News:
    """What a request adds."""

    fresh: Sequence[Batch]
    """What each process has sent, without the readings that have come before."""
    shares: Sequence[Share]
    """Readings among these that other ranks have as well."""
    params: Sequence[tuple[str, Param]]
    """New hyperparameters, in their order."""
    outcomes: Mapping[str, str]
    """What all processes say of the run's outcome, the newest of each; see `Members.outcomes`."""
    before: Known
    after: Known

    @property
    def has_rows(self) -> bool:
        """Whether there are new readings that a training has logged."""
        return any(batch.readings for batch in self.fresh if not batch.is_system)

    @property
    def state(self) -> dict[str, Any]:
        """What the journal is to remember, by key."""
        state = {
            "outcomes": self.outcomes,
            "ended": self.after.ended,
            "end_unix_nano": self.after.end_unix_nano,
            "seen": ranges(self.after.seen),
        }
        # Only what has changed: a large model's are many, and nothing else of a request grows with them.
        return {**state, "hparams": self.after.reports.state} if self.has_reports else state

    @property
    def has_reports(self) -> bool:
        """Whether hyperparameters were reported again, be it with the values that they have."""
        return self.after.reports is not self.before.reports

    def says_more_than(self, outcomes: Mapping[str, str]) -> bool:
        """Whether there is anything new beside readings, where the outcomes so far were these."""
        return bool(self.params) or (self.after.ended, self.outcomes) != (self.before.ended, outcomes)


def news_of(part: RequestPart, known: Known, members: Members) -> News:
    """What a request adds to what is known of its run."""
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
    """Those of a batch that count: all ranks have the same ones, or nobody could say which."""
    return () if batch.rank else batch.params
