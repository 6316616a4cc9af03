"""What a relay counts of itself, as it is exported by OTLP and answered to whoever asks. Pure.

A count is of what happened since the relay's start. What is not known is None, and never 0.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace


@dataclass(frozen=True, slots=True)
class TrackerFigures:
    """How the delivery to one tracker stands."""

    pending: int = 0
    """Readings that it has yet to take."""
    lag_s: float | None = 0.0
    """Seconds since the first of these was logged; 0 where none waits."""
    dropped: int = 0
    """Readings that were dropped before it had them, since the journal was full."""
    refused: int = 0
    """Readings that it will never have, since the beginning of the runs that the relay has not forgotten; those that
    were dropped are among them."""
    problem: str | None = None
    """Why readings wait or were refused, in the tracker's words."""
    refused_files: int = 0
    """Files that it will never have, of the runs that the relay has not forgotten."""


@dataclass(frozen=True, slots=True)
class RunFigures:
    """What a relay has done for a run, or for several, and what waits."""

    open_runs: int = 0
    """Runs that are not over."""
    readings: int = 0
    """Readings that have come; one that came again is not counted again."""
    waiting: int = 0
    """Values, and readings that belong to none yet, that wait to be merged."""
    journal_bytes: int | None = 0
    """Size of what the journals hold that the relay has open."""
    undelivered_s: float | None = 0.0
    """Seconds since the oldest reading was logged that is not merged yet, or that some tracker has not taken; 0 where
    there is none."""
    late: int = 0
    """Values of ranks that came when those of the other ranks had been merged without them."""
    incomplete: int = 0
    """Merged values that lack a rank that runs; those of one name and step count as one."""
    trackers: Mapping[str, TrackerFigures] = field(default_factory=dict)
    """By name."""

    @property
    def counts(self) -> RunFigures:
        """The same when nothing waits: what has to be remembered of a run that the relay forgets."""
        trackers = {name: TrackerFigures(dropped=one.dropped) for name, one in self.trackers.items()}
        return RunFigures(readings=self.readings, late=self.late, incomplete=self.incomplete, trackers=trackers)


@dataclass(frozen=True, slots=True)
class RelayFigures:
    """What a relay counts of itself."""

    requests: Mapping[int, int]
    """Requests with metrics that it has answered, by the HTTP status code of the answer."""
    turned_away_s: float | None
    """Seconds since it last answered 503: it was behind, or could not write its journal. None where it never did."""
    memory_bytes: int
    """Physical memory that its process uses."""
    runs: RunFigures
    """All of its runs together, those that it has forgotten as well."""

    def line(self) -> str:
        """The figures as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_line(cls, line: str) -> RelayFigures:
        """Read figures from their line.

        Raises:
            ValueError: the line is not JSON, or has other figures.
        """
        try:
            plain = json.loads(line)
            runs = plain.pop("runs")
            trackers = {name: TrackerFigures(**one) for name, one in runs.pop("trackers").items()}
            requests = {int(status): number for status, number in plain.pop("requests").items()}
            return cls(requests=requests, runs=RunFigures(**runs, trackers=trackers), **plain)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"these are not the figures of a relay: {error}") from error


def total(figures: Iterable[RunFigures]) -> RunFigures:
    """The figures of several runs together: sums, but for ages and lags, of which the largest is taken."""
    whole = RunFigures()
    for one in figures:
        names = dict.fromkeys([*whole.trackers, *one.trackers])
        whole = RunFigures(
            open_runs=whole.open_runs + one.open_runs,
            readings=whole.readings + one.readings,
            waiting=whole.waiting + one.waiting,
            journal_bytes=_sum(whole.journal_bytes, one.journal_bytes),
            undelivered_s=largest([whole.undelivered_s, one.undelivered_s]),
            late=whole.late + one.late,
            incomplete=whole.incomplete + one.incomplete,
            trackers={name: _both(whole.trackers.get(name), one.trackers.get(name)) for name in names},
        )
    return whole


def largest(seconds: Iterable[float | None]) -> float | None:
    """The largest of several times; None where one of them is not known, since it could be that one."""
    known = list(seconds)
    return None if None in known else max((one for one in known if one is not None), default=0.0)


def _both(first: TrackerFigures | None, second: TrackerFigures | None) -> TrackerFigures:
    if first is None or second is None:
        return first or second or TrackerFigures()
    return replace(
        first,
        pending=first.pending + second.pending,
        lag_s=largest([first.lag_s, second.lag_s]),
        dropped=first.dropped + second.dropped,
        refused=first.refused + second.refused,
        problem=first.problem or second.problem,
        refused_files=first.refused_files + second.refused_files,
    )


def _sum(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None else first + second
