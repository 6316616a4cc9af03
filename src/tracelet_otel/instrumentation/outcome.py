"""The run's outcome, as points of observable gauges: running, finished, failed, interrupted or terminated."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from tracelet_otel import semconv
from tracelet_otel._support.environment import secrets
from tracelet_otel._support.private_names import TERMINATED
from tracelet_otel.instrumentation.failure import failure_of
from tracelet_otel.protocol.failure import Failure

_PRUNED: Final = ("optuna", "TrialPruned")
"""Package and name of the exception by which an objective of Optuna says that a trial is not worth its time."""
_MILLISECONDS_S: Final = 0.002
"""In seconds: long enough that the next collection is in another millisecond."""


class Outcome:
    """The run's outcome so far: running at first, then how the last training really ended.

    So a run is finished where the script caught an exception and then completed another fit.

    Args:
        meter_provider: where the instruments are created.
        owns_run: whether the end of this process ends the run, and not only this rank's part of it.
        last_value: returns when the last value was logged, in nanoseconds since the epoch; 0 where none was.
    """

    def __init__(
        self, meter_provider: MeterProvider, *, owns_run: bool = True, last_value: Callable[[], int] = lambda: 0
    ) -> None:
        self.value: str = semconv.OUTCOME_RUNNING
        """One of `semconv.OUTCOME_*`."""
        self.failure: Failure | None = None
        """Why the last training failed; None where it did not, or nothing is known of it."""
        self.pruned: str | None = None
        """What was said when the last training was pruned, as a trial of Optuna is; None where it was not."""
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
        """When the run ended, in nanoseconds since the epoch.

        That is the time of its last training or value, not of the last delivery. Without either, it is the time of
        the call of `settle`.
        """
        return max(self._training_ended_ns, self._last_value()) or self._settled_ns

    def training_ended(self, error: BaseException | None) -> None:
        """Take the outcome of a training that has ended.

        Args:
            error: the exception that ended it; None for none.
        """
        self.value, self._training_ended_ns = outcome_of(error), time.time_ns()
        self.failure, self.pruned = _failure(error), _pruned(error)

    def settle(self, outcome: str | None, error: BaseException | None) -> None:
        """Decide the run's final outcome.

        Args:
            outcome: the outcome that the caller asks for; it takes precedence over all else.
            error: what ended the process or the `with` block; without it the last training's outcome stands.
        """
        self._settled_ns = time.time_ns()
        if outcome is not None:
            self.value = outcome
        elif outcome_of(error) != semconv.OUTCOME_FINISHED:
            # Lightning turns Ctrl-C into `SystemExit`: an outcome that the training reported is more precise.
            if self.value in (semconv.OUTCOME_RUNNING, semconv.OUTCOME_FINISHED):
                self.value, self.failure = outcome_of(error), _failure(error)
        else:
            if self.value == semconv.OUTCOME_RUNNING:
                self.value = semconv.OUTCOME_FINISHED
            self.pruned = _pruned(error) or self.pruned

    def end(self) -> None:
        """Report the end from now on. Call it once all rows have been exported: whoever reads it waits for no more."""
        self._ended = True
        # Databases keep milliseconds, and the first of two values in the same one. So the next collection, which has
        # the end, must not be in the same millisecond as the last one.
        time.sleep(_MILLISECONDS_S)

    def _observe(self, _options: CallbackOptions) -> Iterable[Observation]:
        yield Observation(1, {semconv.OUTCOME: self.value})

    def _observe_end_time(self, _options: CallbackOptions) -> Iterable[Observation]:
        if self._ended:
            yield Observation(self.end_unix_nano / 1e9)

    def _observe_end(self, _options: CallbackOptions) -> Iterable[Observation]:
        yield Observation(int(self._ended))


def outcome_of(error: BaseException | None) -> str:
    """The outcome of a training, block or process that ended with an exception, or with none.

    After Ctrl-C, Lightning ends a fit with `SystemExit(1)`, raised while it handles the KeyboardInterrupt. After
    SIGTERM it raises its own `SIGTERMException`, which is a `SystemExit`. A trial that is pruned has not failed: Optuna
    has decided to end it, as `EarlyStopping` does.
    """
    if error is None or _pruned(error) is not None:
        return semconv.OUTCOME_FINISHED
    chain = list(_chain(error))
    if any(type(one).__name__ == TERMINATED for one in chain):
        return semconv.OUTCOME_TERMINATED
    if isinstance(error, (KeyboardInterrupt, SystemExit)) and any(isinstance(one, KeyboardInterrupt) for one in chain):
        return semconv.OUTCOME_INTERRUPTED
    if isinstance(error, SystemExit) and not error.code:
        return semconv.OUTCOME_FINISHED
    return semconv.OUTCOME_FAILED


def _failure(error: BaseException | None) -> Failure | None:
    """What is told of an exception; None where it is no failure."""
    if error is None or outcome_of(error) != semconv.OUTCOME_FAILED:
        return None
    return failure_of(error, secrets())


def _pruned(error: BaseException | None) -> str | None:
    """What an exception says by which a trial of Optuna was pruned; None where it is another one."""
    package, name = _PRUNED
    kinds = [kind for kind in type(error).__mro__ if kind.__module__.partition(".")[0] == package]
    if error is None or all(kind.__name__ != name for kind in kinds):
        return None
    return failure_of(error, secrets()).message or name


def last_error() -> BaseException | None:
    """The last uncaught exception, which the interpreter keeps in `sys.last_value`; None where there was none."""
    return getattr(sys, "last_value", None)


def error_that_ended(before: BaseException | None) -> BaseException | None:
    """The uncaught exception that ends this process; for use in an exit handler.

    Args:
        before: what `last_error` returned at the run's beginning.

    Returns:
        None where there is no new one, or in an interactive session, which an uncaught exception does not end.
    """
    error = last_error()
    return None if error is before or hasattr(sys, "ps1") else error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and those it was raised from, or while handling."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
