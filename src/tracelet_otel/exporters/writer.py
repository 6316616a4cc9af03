"""Writes to one tracker: repeats calls that may succeed later, and halves batches that the tracker refuses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, Final

import tenacity

from tracelet_otel._support.guard import Guard
from tracelet_otel._support.pauses import spread
from tracelet_otel.errors import RefusedError, TrackerUnavailableError
from tracelet_otel.exporters.base import Tracker
from tracelet_otel.protocol.decode import Reading, Report
from tracelet_otel.protocol.report_kinds import TAGS

_LONGEST_PAUSE_S: Final = 10.0
_PAUSES: Final = tenacity.wait_exponential(multiplier=0.5, max=_LONGEST_PAUSE_S)
_REPORT_ATTEMPTS: Final = 5


class Writer:
    """Writes readings, hyperparameters and tags to a tracker until each was delivered or refused. Not thread-safe.

    Args:
        tracker: the tracker.
        guard: reports what the tracker refuses.
        abandoned: once it is set, no call is repeated.
        on_readings: called with the numbers of readings that were delivered and refused, in the order of the readings.
        on_reports: called with the number of hyperparameters or tags that were delivered or refused, in their order.
    """

    def __init__(
        self,
        tracker: Tracker,
        guard: Guard,
        abandoned: threading.Event,
        on_readings: Callable[[int, int], None],
        on_reports: Callable[[int], None],
    ) -> None:
        self._tracker = tracker
        self._guard = guard
        self._abandoned = abandoned
        self._on_readings = on_readings
        self._on_reports = on_reports
        self.problem: str | None = None
        """The latest reason why something was refused or a call is repeated, in the tracker's words."""

    def write_readings(self, readings: Sequence[Reading]) -> None:
        """Write readings; when this returns, each of them was delivered or refused.

        Raises:
            TrackerUnavailableError: the tracker does not answer, and `abandoned` is set.
            TraceletError: the tracker accepts nothing more.
        """
        refused = self._tracker.refusals(readings)
        good = [one for place, one in enumerate(readings) if place not in refused] if refused else readings
        try:
            if good:
                self.persist(self._tracker.log_readings, good)
        except RefusedError as error:
            if len(readings) > 1:
                middle = len(readings) // 2
                self.write_readings(readings[:middle])
                self.write_readings(readings[middle:])
                return
            refused = {0: str(error)}
        for place, reason in refused.items():
            self.problem = reason
            self._guard.report(f"{self._tracker.name} refused metric {readings[place].name!r}", reason)
        # Counted in one call: readings leave the queue in the order in which they came.
        self._on_readings(len(readings) - len(refused), len(refused))

    def write_reports(self, reports: Sequence[Report]) -> bool:
        """Write hyperparameters or tags. Stop after some attempts, because readings wait behind them.

        Args:
            reports: what one call of the tracker can take.

        Returns:
            Whether each of them was delivered or refused.

        Raises:
            TrackerUnavailableError: the tracker does not answer, and `abandoned` is set.
            TraceletError: the tracker accepts nothing more.
        """
        try:
            self._retrying_a_few_times(self._called, self._store_reports, reports)
        except RefusedError as error:
            if len(reports) > 1:
                middle = len(reports) // 2
                return all(self.write_reports(half) for half in (reports[:middle], reports[middle:]))
            self._guard.report(f"{self._tracker.name} refused {reports[0].kind.word} {reports[0].name!r}", error)
        except TrackerUnavailableError:
            if self._abandoned.is_set():
                raise
            return False
        self._on_reports(len(reports))
        return True

    def _store_reports(self, reports: Sequence[Report]) -> None:
        if reports[0].kind is not TAGS:
            self._tracker.log_params({report.name: report.param for report in reports})
            return
        # A tracker of somebody else may be older than this method.
        set_tags = getattr(self._tracker, "set_tags", None)
        if set_tags is None:
            for _ in reports:
                self._guard.report(f"{self._tracker.name} has no place for tags and notes", "it has no `set_tags`")
            return
        changed = set_tags({report.name: report.param.text for report in reports})
        for name, reason in changed.items():
            self._guard.report(f"{self._tracker.name} does not have all of tag {name!r}", reason)

    def persist(self, call: Callable[[Any], Any], argument: Any) -> Any:
        """Repeat a call as long as it raises `TrackerUnavailableError`; any other error is raised at once.

        Args:
            call: a method of the tracker, or another function that raises `TrackerUnavailableError`.
            argument: the call's only argument.

        Returns:
            What the call returns.

        Raises:
            TrackerUnavailableError: the last attempt failed, and `abandoned` is set.
        """
        return self._retrying(self._called, call, argument)

    def _called(self, call: Callable[[Any], Any], argument: Any) -> Any:
        try:
            return call(argument)
        except OSError as error:
            # Of a disk or a network, which may be well again: a tracker need not translate it.
            raise TrackerUnavailableError(f"{type(error).__name__}: {error}") from error

    # Both objects serve all calls: tenacity keeps nothing from one call to the next.
    @cached_property
    def _retrying(self) -> tenacity.Retrying:
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(TrackerUnavailableError),
            wait=lambda state: spread(_PAUSES(state)),
            stop=tenacity.stop_when_event_set(self._abandoned),
            sleep=tenacity.sleep_using_event(self._abandoned),
            before_sleep=self._report_unavailable,
            reraise=True,
        )

    @cached_property
    def _retrying_a_few_times(self) -> tenacity.Retrying:
        stop = tenacity.stop_when_event_set(self._abandoned) | tenacity.stop_after_attempt(_REPORT_ATTEMPTS)
        return self._retrying.copy(stop=stop)

    def _report_unavailable(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        self.problem = str(error)
        self._guard.report(f"{self._tracker.name} does not answer; its readings are kept and sent again", str(error))


def for_one_call(reports: Iterable[Report]) -> list[Report]:
    """The first of some reports, as many as one call of a tracker can take: all of one kind.

    Each value of a hyperparameter is written by a call of its own, in the order of the values. Of several values of a
    tag, the last one stands.

    Args:
        reports: in the order in which they were reported.
    """
    found: list[Report] = []
    names: set[str] = set()
    for report in reports:
        kind = found[0].kind if found else report.kind
        if report.kind is not kind or (kind.keeps_all and report.name in names):
            break
        found.append(report)
        names.add(report.name)
    return found
