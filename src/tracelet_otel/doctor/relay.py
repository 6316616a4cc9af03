"""Checks the relay that trainings join."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from http import HTTPStatus
from typing import Final

import urllib3

from tracelet_otel._support.findings import Finding, Level
from tracelet_otel.doctor.findings import Chapter
from tracelet_otel.doctor.quantities import age, size
from tracelet_otel.protocol.messages import CONTENT_TYPE, RELAY_PATH
from tracelet_otel.relay.figures import RelayFigures, TrackerFigures
from tracelet_otel.session.calls import Address, HttpConnection
from tracelet_otel.settings import Settings

_TIMEOUT_S: Final = 5.0
_LONG_LAG_S: Final = 60.0
"""A tracker that lacks a value that was logged so long ago is behind."""
_LATELY_S: Final = 300.0
"""A relay that has turned a request away within so many seconds is behind now."""
_RANK_TIMEOUT: Final = (
    "set TRACELET_RANK_TIMEOUT of the relay to the seconds for which a rank may be away (docs/scale.md)"
)

_WRONG_TOKEN: Final = Finding(
    Level.PROBLEM, "it refuses the token", "set TRACELET_RELAY_TOKEN to the one that the relay was started with"
)
_TOO_OLD: Final = Finding(
    Level.PROBLEM, "the relay is too old to tell its figures", "install the same version of tracelet-otel there"
)
_COLLECTOR: Final = Finding(
    Level.NOTE,
    "a collector listens there, which tells nobody how far the delivery is",
    "give the address of the relay behind it with --relay",
)


def check_relay(settings: Settings) -> Chapter:
    """Check whether the relay of `relay_endpoint` can be reached, takes the token, and keeps up."""
    if settings.relay_endpoint is None or settings.relay_token is None:
        return Chapter("relay", [Finding(Level.OK, "no relay is named, so start_logging starts one for each run")])
    address = Address(settings.relay_endpoint.rstrip("/"), settings.relay_token.get_secret_value())
    title = f"relay {address.endpoint}"
    found = _ask(address)
    if isinstance(found, Finding):
        return Chapter(title, [found])
    answers = Finding(Level.OK, "it answers, and takes the token")
    return Chapter(title, [answers, *_findings(found)], _table(found), asdict(found))


def _ask(address: Address) -> RelayFigures | Finding:
    """The figures of a relay, or why there are none."""
    try:
        with HttpConnection() as connection:
            answer = connection.get(address, RELAY_PATH, _TIMEOUT_S)
            kind = answer.headers.get("Content-Type", "").partition(";")[0]
            if answer.status == HTTPStatus.OK:
                return RelayFigures.from_line(answer.data.decode())
            if answer.status == HTTPStatus.UNAUTHORIZED:
                return _WRONG_TOKEN
            # Only a relay answers errors in the form of OTLP where nothing was sent.
            if answer.status == HTTPStatus.NOT_FOUND and kind == CONTENT_TYPE:
                return _TOO_OLD
            # An empty request is one without metrics.
            if connection.post(address, b"", timeout_s=_TIMEOUT_S).status == HTTPStatus.OK:
                return _COLLECTOR
    except urllib3.exceptions.HTTPError as error:
        return Finding(
            Level.PROBLEM,
            f"nothing answers there ({type(error).__name__})",
            "start it with `tracelet-otel relay --bind HOST:PORT`, or correct its address",
        )
    except ValueError:
        pass
    return Finding(
        Level.PROBLEM, f"what listens there is no relay of ours: it answers {answer.status}", "correct its address"
    )


def _findings(figures: RelayFigures) -> Iterator[Finding]:
    if figures.turned_away_s is not None:
        lately = figures.turned_away_s < _LATELY_S
        yield Finding(
            Level.PROBLEM if lately else Level.NOTE,
            f"it has answered 503 to {figures.requests.get(HTTPStatus.SERVICE_UNAVAILABLE, 0)} requests, last "
            f"{age(figures.turned_away_s)} ago: it was behind, or could not write its journal",
            "look for the reason in its log; give it a faster disk, or divide the runs over several (docs/scale.md)",
        )
    runs = figures.runs
    if runs.late:
        yield Finding(Level.PROBLEM, f"{runs.late} values of ranks came too late to be merged", _RANK_TIMEOUT)
    if runs.incomplete:
        yield Finding(Level.PROBLEM, f"{runs.incomplete} merged values lack a rank that runs", _RANK_TIMEOUT)
    for name, tracker in runs.trackers.items():
        yield from _of_tracker(name, tracker)


def _of_tracker(name: str, figures: TrackerFigures) -> Iterator[Finding]:
    why = f" ({figures.problem})" if figures.problem else ""
    if figures.dropped:
        yield Finding(
            Level.PROBLEM,
            f"{name}: {figures.dropped} readings were dropped before it had them, since a journal was full",
            "raise TRACELET_JOURNAL_LIMIT of the relay, in MiB, and see that the tracker answers",
        )
    if figures.refused > figures.dropped:
        yield Finding(
            Level.PROBLEM,
            f"{name}: it has refused {figures.refused - figures.dropped} readings{why}",
            "look for the first of them in the relay's log",
        )
    if figures.refused_files:
        yield Finding(
            Level.PROBLEM,
            f"{name}: it has refused {figures.refused_files} files",
            "look for the first of them in the relay's log",
        )
    if figures.lag_s is None or figures.lag_s > _LONG_LAG_S:
        since = "for a time that is not known" if figures.lag_s is None else f"the first for {age(figures.lag_s)}"
        yield Finding(
            Level.PROBLEM,
            f"{name}: {figures.pending} readings wait, {since}{why}",
            "see that the tracker answers at the address that the relay was given, and takes its credentials",
        )


def _table(figures: RelayFigures) -> list[tuple[str, str]]:
    runs = figures.runs
    requests = ", ".join(f"{number} with {status}" for status, number in sorted(figures.requests.items()))
    rows = [
        ("open runs", str(runs.open_runs)),
        ("requests answered", requests),
        ("readings taken", str(runs.readings)),
        ("values waiting for ranks", str(runs.waiting)),
        ("journals", size(runs.journal_bytes)),
        ("oldest value not delivered", age(runs.undelivered_s)),
        ("memory", size(figures.memory_bytes)),
    ]
    trackers = [
        (name, f"{one.pending} waiting, lag {age(one.lag_s)}, {one.refused} refused, {one.dropped} of these dropped")
        for name, one in runs.trackers.items()
    ]
    return [*rows, *trackers]
