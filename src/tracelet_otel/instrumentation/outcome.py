"""How the run stands, as a point of an observable gauge."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from tracelet_otel import semconv
from tracelet_otel._support.private_names import TERMINATED

_MILLISECONDS_S: Final = 0.002


class Outcome:
    """The run's outcome so far: running at first, then how the last training really ended.

    An exception that the script caught and followed by a good fit is therefore finished.

    Args:
        meter_provider: where the instrument is created.
        owns_run: whether the run ends with this process, and not only its rank.
        last_value: when the last value was logged, in nanoseconds since the epoch; 0 where none was.
    """

    def __init__(
        self, meter_provider: MeterProvider, *, owns_run: bool = True, last_value: Callable[[], int] = lambda: 0
    ) -> None:
        self.value: str = semconv.OUTCOME_RUNNING
        """One of `semconv.OUTCOME_*`."""
        self._last_value = last_value
        self._training_ended_ns = 0
        self._settled_ns = 0
        meter_provider.get_meter(semconv.SCOPE_RUN).create_observable_gauge(
            semconv.RUN_OUTCOME,
            callbacks=[self._observe],
            unit=semconv.RUN_OUTCOME_UNIT,
            description="1 for the outcome that the run has at this moment",
        )
        self._ended = False
        if owns_run:
            meter_provider.get_meter(semconv.SCOPE_RUN).create_observable_gauge(
                semconv.RUN_END_TIME,
                callbacks=[self._observe_end_time],
                unit=semconv.RUN_END_TIME_UNIT,
                description="When the run ended, in seconds since the epoch; nothing while it goes on",
            )
        name, unit = (
            (semconv.RUN_ENDED, semconv.RUN_ENDED_UNIT) if owns_run else (semconv.RANK_ENDED, semconv.RANK_ENDED_UNIT)
        )
        meter_provider.get_meter(semconv.SCOPE_RUN).create_observable_gauge(
            name,
            callbacks=[self._observe_end],
            unit=unit,
            description=f"1 once the {'run' if owns_run else 'rank'} has ended: its outcome is the last one",
        )

    @property
    def end_unix_nano(self) -> int:
        """When the run ended: with its last training or value, and not when all of it was delivered.

        Where there was neither, when its end was settled. In nanoseconds since the epoch.
        """
        return max(self._training_ended_ns, self._last_value()) or self._settled_ns

    def training_ended(self, error: BaseException | None) -> None:
        """A training has ended, by an exception or by none."""
        self.value, self._training_ended_ns = outcome_of(error), time.time_ns()

    def settle(self, outcome: str | None, error: BaseException | None) -> None:
        """End the run.

        Args:
            outcome: what the caller says, over all else.
            error: what ended the process or block; without one the last training's outcome stands.
        """
        self._settled_ns = time.time_ns()
        if outcome is not None:
            self.value = outcome
        elif outcome_of(error) != semconv.OUTCOME_FINISHED:
            # Lightning turns an interrupt into an exit: the training knew better what it was.
            if self.value in (semconv.OUTCOME_RUNNING, semconv.OUTCOME_FINISHED):
                self.value = outcome_of(error)
        elif self.value == semconv.OUTCOME_RUNNING:
            self.value = semconv.OUTCOME_FINISHED

    def end(self) -> None:
        """Say from now on that nothing more comes: only once all rows have been exported."""
        self._ended = True
        # Databases keep milliseconds, and of two values in one the first: the next collection has to be in another.
        time.sleep(_MILLISECONDS_S)

    def _observe(self, _options: CallbackOptions) -> Iterable[Observation]:
        yield Observation(1, {semconv.OUTCOME: self.value})

    def _observe_end_time(self, _options: CallbackOptions) -> Iterable[Observation]:
        if self._ended:
            yield Observation(self.end_unix_nano / 1e9)

    def _observe_end(self, _options: CallbackOptions) -> Iterable[Observation]:
        yield Observation(int(self._ended))


def outcome_of(error: BaseException | None) -> str:
    """The outcome of something that was left by an exception, or by none.

    Lightning leaves a fit by `SystemExit(1)` after Ctrl-C, which it raises while it handles the
    KeyboardInterrupt, and by its own `SIGTERMException`, a `SystemExit`, after SIGTERM.
    """
    if error is None:
        return semconv.OUTCOME_FINISHED
    chain = list(_chain(error))
    if any(type(one).__name__ == TERMINATED for one in chain):
        return semconv.OUTCOME_TERMINATED
    if isinstance(error, (KeyboardInterrupt, SystemExit)) and any(isinstance(one, KeyboardInterrupt) for one in chain):
        return semconv.OUTCOME_INTERRUPTED
    if isinstance(error, SystemExit) and not error.code:
        return semconv.OUTCOME_FINISHED
    return semconv.OUTCOME_FAILED


def last_error() -> BaseException | None:
    """The exception that the interpreter has kept as the last one that nobody caught."""
    return getattr(sys, "last_value", None)


def error_that_ended(before: BaseException | None) -> BaseException | None:
    """What ends this process; to be asked in an exit handler. In a session at the prompt it ended nothing.

    Args:
        before: what `last_error` was at the run's beginning.
    """
    error = last_error()
    return None if error is before or hasattr(sys, "ps1") else error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
