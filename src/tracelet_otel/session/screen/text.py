"""The words in which people see a run on a terminal. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tracelet_otel._support.text import duration, number
from tracelet_otel.protocol.account import Account
from tracelet_otel.protocol.main_metrics import MetricRange, main_metrics

_MOST_METRICS: Final = 10


@dataclass(frozen=True)
class RunBegun:
    """A run that has begun."""

    name: str
    project: str
    run_id: str
    places: Mapping[str, str]
    """Where to look at it, by backend: an address, or what has to be done."""


@dataclass(frozen=True)
class RunEnded:
    """How a run has ended."""

    outcome: str
    """One of `semconv.OUTCOMES`."""
    took_s: float
    """From its start to its end, in seconds."""
    rows: int
    """How many rows this process has logged."""
    accounts: Mapping[str, Account]
    """What each backend has taken."""
    values: Sequence[MetricRange] = field(default_factory=tuple)
    """Of its metrics, as far as they are known."""
    time_spent: str = ""
    """Where the time of its trainings went, as lines of text; empty where that is not known."""

    @property
    def time_lines(self) -> list[str]:
        """The same, as a part of a larger text."""
        return self.time_spent.removeprefix("tracelet: ").splitlines()


def begin_text(begun: RunBegun) -> str:
    """One line, and one more for each backend where there are several."""
    head = f"tracelet: recording {begun.name!r} in project {begun.project!r}"
    places = [f"{name}: {place}" for name, place in begun.places.items()]
    if len(places) == 1:
        return f"{head}; {places[0]}"
    return "\n".join([head, *(f"  {place}" for place in places)])


def end_text(begun: RunBegun, ended: RunEnded) -> str:
    """A small table: how the run ended, its main metrics, where the time went, and what each backend has."""
    lines = [f"tracelet: {begun.name!r} {ended.outcome} after {duration(ended.took_s)}"]
    lines += [f"  {line}" for line in metric_lines(ended.values)]
    lines += [f"  {line}" for line in ended.time_lines]
    for name, account in ended.accounts.items():
        lines.append(f"  {name}: {delivered(account, ended.rows)}")
        if place := begun.places.get(name):
            lines.append(f"    {place}")
    return "\n".join(lines)


def metric_lines(values: Iterable[MetricRange]) -> Iterator[str]:
    """The last, lowest and highest value of each of the main metrics, as a table. Which one is best, nobody knows."""
    known = {one.name: one for one in values}
    names = main_metrics(known)
    if not names:
        return
    rows: list[tuple[str, ...]] = [("metric", "last", "lowest", "highest")]
    rows += [(name, *("" if one is None else number(one) for one in known[name][1:])) for name in names[:_MOST_METRICS]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *figures in rows:
        shown = (f"{figure:>{width}}" for figure, width in zip(figures, widths[1:], strict=True))
        yield f"{name:<{widths[0]}}  {'  '.join(shown)}".rstrip()
    if len(names) > _MOST_METRICS:
        yield f"and {len(names) - _MOST_METRICS} more"


def delivered(account: Account, rows: int) -> str:
    """What a backend has taken."""
    found = [f"{rows:,} rows, {account.delivered:,} readings delivered"]
    if account.refused:
        found.append(f"{account.refused:,} refused")
    if account.pending:
        found.append(f"{account.pending:,} not delivered yet")
    return ", ".join(found)
