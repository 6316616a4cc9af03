"""Divides requests that are taken together by run, and says what became of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from tracelet_otel.protocol.messages import Taken
from tracelet_otel.protocol.requests import MalformedError, by_run, count_points
from tracelet_otel.relay.parts import RequestPart, part_of
from tracelet_otel.relay.phase import TooLateError


class Accepted(NamedTuple):
    """What became of the parts of several requests that belong to one run."""

    errors: Sequence[Exception | None]
    """For each part why it was not accepted; None where it was."""
    news: str
    """Problems of the run that its processes should know of, one to a line; empty where there are none."""


Each = Callable[..., Iterable[Any]]
"""Calls a function with each of several values, and returns the results in their order, as `map` does."""
AcceptParts = Callable[[str, Sequence[RequestPart]], Accepted]
"""Accepts parts of requests that belong to the run with this id."""


def take(
    requests: Sequence[ExportMetricsServiceRequest], accept: AcceptParts, each: Each = map
) -> list[Taken | Exception]:
    """Accept requests together: one call for each run, with the parts of all requests that belong to it.

    Args:
        requests: in the order in which they came.
        accept: accepts the parts of one run.
        each: calls a function for each run, as `map` does; it may do so for several runs at a time.

    Returns:
        For each request what became of it, or why it was not taken.
    """
    answers = [_Answer() for _ in requests]
    waiting: dict[str, list[tuple[_Answer, RequestPart]]] = {}
    for request, answer in zip(requests, answers, strict=True):
        for run_id, resources in by_run(request).items():
            try:
                part = part_of(resources)
            except MalformedError as error:
                answer.add(run_id, error, count_points(resources))
            else:
                waiting.setdefault(run_id, []).append((answer, part))

    def accepted_of(run_id: str) -> Accepted:
        parts = [part for _, part in waiting[run_id]]
        try:
            return accept(run_id, parts)
        except Exception as error:
            # A bug, which at least takes no other run along.
            return Accepted([error for _ in parts], "")

    accepted_of_runs = (each if len(waiting) > 1 else map)(accepted_of, waiting)
    for (run_id, parts), accepted in zip(waiting.items(), accepted_of_runs, strict=True):
        for (answer, part), problem in zip(parts, accepted.errors, strict=True):
            if problem is None:
                answer.add_news(run_id, accepted.news)
            else:
                answer.add(run_id, problem, count_points(part.resources))
    return [answer.result for answer in answers]


class _Answer:
    """What becomes of one request, which may have parts of several runs."""

    def __init__(self) -> None:
        self._errors: dict[str, tuple[Exception, int]] = {}
        self._news: dict[str, str] = {}

    def add(self, run_id: str, error: Exception, points: int) -> None:
        """Take note of a part that was not accepted, and of how many data points it has."""
        self._errors[run_id] = error, points

    def add_news(self, run_id: str, news: str) -> None:
        """Take note of a part that was accepted."""
        self._news[run_id] = news

    @property
    def result(self) -> Taken | Exception:
        """What the sender is told."""
        for error, _ in self._errors.values():
            # A collector sends the data of many runs in one request: an error of one run rejects no other. What may be
            # accepted later is sent again as a whole, and what was accepted is known by then.
            if not isinstance(error, (MalformedError, TooLateError)) or len(self._errors) + len(self._news) == 1:
                return error
        messages: Mapping[str, str] = {run_id: f"run {run_id}: {error}" for run_id, (error, _) in self._errors.items()}
        lines = filter(None, [*messages.values(), *self._news.values()])
        return Taken("\n".join(lines), sum(points for _, points in self._errors.values()))
