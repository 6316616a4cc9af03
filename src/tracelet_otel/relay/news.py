"""What is known of a run, and what requests add to that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

from tracelet_otel import semconv
from tracelet_otel.protocol.decode import Batch, Report
from tracelet_otel.protocol.report_kinds import REPORT_KINDS, TAGS, ReportKind
from tracelet_otel.protocol.reports import Reports
from tracelet_otel.relay.members import Members
from tracelet_otel.relay.packing import Share
from tracelet_otel.relay.parts import joined, process_of, share, stream_of, without_known
from tracelet_otel.relay.ranges import IntegerRanges, ranges, seen_of, stored, to_store

_KIND: Final = attrgetter("kind")


def _no_reports() -> dict[ReportKind, Reports]:
    return {kind: Reports(kind) for kind in REPORT_KINDS}


@dataclass
class Known:
    """All that has come of a run so far, except the values of its readings."""

    seen: dict[str, IntegerRanges] = field(default_factory=dict)
    """Sequence numbers of all samples that have come, by process (`parts.stream_of`)."""
    reports: dict[ReportKind, Reports] = field(default_factory=_no_reports)
    """The hyperparameters and tags that were reported."""
    ended: bool = False
    """Whether the run's owner has ended it."""
    end_unix_nano: int | None = None
    """When the run ended, in nanoseconds since the epoch; None where no process has reported it."""

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Known:
        """Read the state of a journal, which has the keys of `News.state`."""
        return cls(
            seen_of(stored(state, "seen")),
            {kind: Reports(kind, state.get(kind.key)) for kind in REPORT_KINDS},
            state.get("ended", False),
            state.get("end_unix_nano"),
        )

    @property
    def is_empty(self) -> bool:
        """Whether no sample has come."""
        return not any(self.seen.values())

    @property
    def attempt(self) -> int | None:
        """The last attempt at the run that has reported something; None where nobody has."""
        tags = (report.param.text for report in self.reports[TAGS].all if report.name == semconv.RUN_ATTEMPT)
        return max((int(text) for text in tags if text.isdecimal()), default=None if self.is_empty else 1)

    @property
    def memory(self) -> dict[str, Any]:
        """State for a new journal, where the run goes on after its journal was deleted."""
        return {"seen": ranges(self.seen), **_state_of(self.reports)}

    @property
    def reported(self) -> list[Report]:
        """Each hyperparameter and tag that trackers have to get, those of one kind in their order."""
        return [report for reports in self.reports.values() for report in reports.all]

    def complete_to(self, process: str) -> int:
        """The sequence number up to which all samples of a process have come; 0 where the first is missing."""
        return self.seen[process].complete_to if process in self.seen else 0

    def take(self, news: News) -> None:
        """Add what requests have brought."""
        self.seen.update(news.seen)
        self.reports.update(news.reports)
        self.ended = self.ended or news.ends
        self.end_unix_nano = self.end_unix_nano if news.end_unix_nano is None else news.end_unix_nano


@dataclass(frozen=True)
class News:
    """What requests add to what is known of their run. It has nothing of processes that the requests are not from."""

    fresh: Sequence[Batch]
    """The batches of the requests, without the readings that have come before."""
    shares: Sequence[Share]
    """The readings of `fresh` that are to be merged with those of other ranks."""
    seen: Mapping[str, IntegerRanges]
    """By process, the sequence numbers of all of its samples that have come, with those of the requests."""
    reported: Sequence[Report]
    """New hyperparameters and tags, in their order."""
    reports: Mapping[ReportKind, Reports]
    """All that was reported of each kind of which the requests report something new."""
    outcomes: Mapping[str, str]
    """Outcomes that processes report and have not reported before, with the keys of `Members.outcomes`."""
    identities: Mapping[str, Sequence[Any]]
    """Who the processes are that were not known before, as `Members.identities` has it."""
    ends: bool
    """Whether the run's owner ends it."""
    end_unix_nano: int | None
    """When the run ended, in nanoseconds since the epoch, where this was not known before."""

    @property
    def has_rows(self) -> bool:
        """Whether there are new readings that were logged, and not only readings of GPU and host."""
        return any(batch.readings for batch in self.fresh if not batch.is_system)

    @property
    def state(self) -> dict[str, Any]:
        """Values for the journal to store, by key: only those that have changed."""
        state = {**to_store("seen", ranges(self.seen)), **to_store("outcomes", self.outcomes)}
        state |= to_store("members", self.identities)
        if self.ends:
            state["ended"] = True
        if self.end_unix_nano is not None:
            state["end_unix_nano"] = self.end_unix_nano
        return state | _state_of(self.reports)

    @property
    def says_more(self) -> bool:
        """Whether there is anything new beside readings."""
        return bool(self.reported or self.outcomes or self.ends) or self.end_unix_nano is not None


def news_of(batches: Sequence[Batch], known: Known, members: Members) -> News:
    """Compare what has come with what is known of its run, and change nothing.

    Args:
        batches: the content of one or more requests, in the order in which they came.
        known: what is known of the run.
        members: the processes of the run.
    """
    streams = {stream_of(batch) for batch in batches if batch.readings}
    seen = {process: IntegerRanges(known.seen[process].ranges) for process in streams if process in known.seen}
    fresh = [without_known(batch, seen) for batch in batches]
    reports: dict[ReportKind, Reports] = {}
    reported: list[Report] = []
    for batch in batches:
        for kind, group in groupby(batch.reports, _KIND):
            of_kind, process = list(group), process_of(batch.resource)
            if reports.get(kind, known.reports[kind]).has_news(process, of_kind):
                reports[kind] = reports.get(kind) or known.reports[kind].copy()
                reported += reports[kind].add(process, of_kind)
    ends = (batch.end_unix_nano for batch in batches if batch.end_unix_nano)
    end_unix_nano = next(ends, None)
    return News(
        fresh,
        joined(found for batch in fresh if (found := share(batch)) is not None),
        seen,
        reported,
        reports,
        members.news(batches),
        members.identities(batches),
        not known.ended and any(batch.ended for batch in batches),
        None if end_unix_nano == known.end_unix_nano else end_unix_nano,
    )


def _state_of(reports: Mapping[ReportKind, Reports]) -> dict[str, Any]:
    return {kind.key: of_kind.state for kind, of_kind in reports.items()}


def reopened(state: Mapping[str, Any]) -> dict[str, Any]:
    """Values for a journal to store where a run that has ended goes on.

    Args:
        state: the journal's state.
    """
    none = {key: None for name in ("outcomes", "members") for key in to_store(name, stored(state, name))}
    return {"ended": False, "end_unix_nano": None, "outcomes": {}, "complete": None, **none}
