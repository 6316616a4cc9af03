"""`Run`, which `start_logging` returns. It connects the parts of a run in this process, and has no logic of its own."""

from __future__ import annotations

import atexit
import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource

from tracelet_otel import semconv
from tracelet_otel._support.forks import ProcessLock
from tracelet_otel._support.guard import Guard
from tracelet_otel.errors import ConfigurationError
from tracelet_otel.instrumentation.by_hand import RecordsByHand
from tracelet_otel.instrumentation.lightning.capture import Capture, Scope
from tracelet_otel.instrumentation.lightning.trainings import Trainings
from tracelet_otel.instrumentation.outcome import error_that_ended, last_error
from tracelet_otel.instrumentation.own_run import Participation
from tracelet_otel.instrumentation.signals import make_signals, traced
from tracelet_otel.protocol import samples
from tracelet_otel.protocol.account import Account
from tracelet_otel.resource.run_resource import code_of, run_resource
from tracelet_otel.session import card
from tracelet_otel.session.calls import Address
from tracelet_otel.session.offered import offered
from tracelet_otel.session.parent import Parent
from tracelet_otel.session.role import Role
from tracelet_otel.session.session import Session
from tracelet_otel.settings import Settings

if TYPE_CHECKING:
    from tracelet_otel.instrumentation.lightning.hooks import Hooks

_LONGEST_DRAIN_S: Final = 2.0
_ROWS_PER_FLUSH: Final = 10_000
"""Rows per export while a run ends; limits the memory that a long queue needs."""

changing: Final = ProcessLock()
"""Held while a run becomes the active run of this process, or stops being it."""


class Run(RecordsByHand):
    """A run that is being recorded. Call `start_logging` to get one.

    Whatever Lightning logs is recorded automatically. `log_metric` and `log_params` record values of your own, and
    `set_tags` and `set_note` describe the run. `stop` ends it.

    In a `with` statement, the run ends with the block. If an exception leaves the block, the run's outcome is `failed`,
    or `interrupted` after Ctrl-C.

    Args:
        settings: settings of the run.
        role: role of this process in the run.
        on_end: called with this object when it begins to end, and takes no more values.
        parent: the run that this one is a part of; None for none.
        code: resource attributes that say which code runs, where that is known; None to find out.
        scope: which trainers of this process belong to the run.
        trainings: begins runs for the trainings of this one; None: they belong to it themselves.

    Raises:
        TraceletError: a backend is unknown or not installed, or can neither create nor continue the run.
    """

    def __init__(
        self,
        settings: Settings,
        role: Role,
        on_end: Callable[[Run], None],
        *,
        parent: Parent | None = None,
        code: Mapping[str, Any] | None = None,
        scope: Scope = Scope.PROCESS,
        trainings: Trainings | None = None,
    ) -> None:
        self._guard = Guard()
        self._session = Session(settings, role, self._guard)
        run_id, self.name = self._session.identify(parent=parent, goes_on=scope is Scope.PROCESS)
        """Name of the run, for people."""
        self.project: str = settings.project
        """Name of the run's project."""
        self.backends: Sequence[str] = settings.backend
        self.relay_address: Callable[[], Address] = role.address
        """Returns the address of the run's relay at this moment."""
        self._on_end = on_end
        self._trainings = trainings
        self._capture = Capture(scope, trainings)
        self._role = role
        self._pid = os.getpid()
        self._thread = threading.current_thread()
        self._stopped = False
        self._stopping_thread: int | None = None
        self._ended = threading.Event()
        self._error_before = last_error()
        identity = run_resource(
            run_id,
            self.name,
            settings.project,
            settings.ranks,
            track_git=settings.track_git and code is None,
            track_environment=settings.track_environment,
            guard=self._guard,
        ).merge(Resource({**self._session.purpose, **(code or {})}))
        self.code = code_of(identity.attributes)
        """Resource attributes that say which code runs."""
        self._session.prepare()
        identity = identity.merge(Resource(self._session.open(identity.attributes)))
        self._records = bool(role.exporters)
        self._tracks_lightning = settings.track_lightning and (self._records or trainings is not None)
        try:
            self._record(identity)
        except BaseException:
            role.abandon()
            self._session.close()
            raise
        if scope is not Scope.TRAINER and self._records:
            offered.offer(self, settings, role.launching.place)
        atexit.register(self._stop_at_exit)

    def _record(self, identity: Resource) -> None:
        role, settings = self._role, self._session.settings
        interval_s, limits = settings.export_interval, samples.cardinality_limits()
        self._readers = [samples.Reader(one, interval_s, cardinality_limits=limits) for one in role.exporters]
        provider = MeterProvider(self._readers, identity, shutdown_on_exit=False)
        # At most half of the time is spent on draining the queue, however many rows come.
        budget_s = min(interval_s / 2, _LONGEST_DRAIN_S)
        part = Participation.of(settings, role.membership, role.launching, owns_run=role.owns_run)
        self._signals = traced(make_signals(provider, self._guard, budget_s, part), provider, lambda: self._role.run_id)
        self._session.send(identity, self._signals)
        if self._tracks_lightning:
            self._capture.begin(self._signals)
        self._session.measure(identity, lambda: self._signals.progress.step)

    @property
    def hooks(self) -> Hooks | None:
        """Where Lightning's calls are reported; None for the default run of the process."""
        return self._capture.hooks

    @property
    def id(self) -> str:
        """Id of the run, the same in all processes and backends; empty in a rank that has not found its run yet."""
        return self._role.run_id

    @property
    def urls(self) -> dict[str, str]:
        """Where to look at the run, by backend. This is an address, or the path of an offline run."""
        return dict(self._role.urls)

    @property
    def ids(self) -> dict[str, str]:
        """The id of the run in each backend, for the backend's own client, as in `ids["mlflow"]`."""
        return dict(self._role.ids)

    @property
    def is_of_this_process(self) -> bool:
        """Whether this object was made in this process, and not in the one that it was forked from."""
        return os.getpid() == self._pid

    @property
    def is_open(self) -> bool:
        """Whether the run is of this process, and has not ended."""
        return self.is_of_this_process and not self._stopped

    @property
    def accounts(self) -> dict[str, Account]:
        """How many readings were delivered, were refused and are pending, by backend.

        A reading is one value of one metric at one step. Readings that have not left this process yet are not counted.
        """
        return self._role.accounts

    @property
    def errors(self) -> dict[str, int]:
        """How many errors were logged instead of raised, by what could not be done; empty if there were none."""
        return dict(Counter(self._guard.counts) + Counter(self._role.errors))

    def check_thread(self) -> None:
        """Check that this thread may end the run, to start another one.

        Raises:
            ConfigurationError: another thread has started the run, and is still alive and may be training.
        """
        if self.is_of_this_process and self._thread is not threading.current_thread() and self._thread.is_alive():
            raise ConfigurationError(
                f"the run {self.name!r} of thread {self._thread.name} is active, and a process has one by default: "
                f"stop it first, give this thread one of its own (isolated=True), or train in processes of their own"
            )

    def stop(self, outcome: str | None = None) -> None:
        """Deliver everything and end the run. A second call does nothing.

        Trackers are waited for `stop_timeout` seconds. After that the relay, a process of its own, goes on with the
        delivery. Without a relay process (`relay=False`), this waits as long as a tracker takes something, and gives up
        on one that takes nothing for `stop_timeout` seconds.

        Args:
            outcome: `finished`, `failed`, `interrupted` or `terminated`. Default: how the last training ended.

        Raises:
            ConfigurationError: there is no such outcome.
        """
        if outcome is not None and outcome not in semconv.OUTCOMES:
            raise ConfigurationError(f"unknown outcome {outcome!r}; known outcomes: {', '.join(semconv.OUTCOMES)}")
        self._stop(outcome, None)

    def _stop(self, outcome: str | None, error: BaseException | None) -> None:
        if not self.is_of_this_process or self._stopping_thread == threading.get_ident():
            return
        with changing:
            first, self._stopped = not self._stopped, True
            if first:
                self._stopping_thread = threading.get_ident()
                self._on_end(self)
                offered.withdraw(self)
                self._session.guarded(self._capture.end)
        if not first:
            # Another thread is ending the run. Return only once everything is delivered.
            self._ended.wait()
            return
        if self._trainings is not None:
            self._session.guarded(self._trainings.close)
        try:
            self._signals.settle(outcome, error)
            self._deliver()
        except BaseException as problem:
            self._give_up()
            if not isinstance(problem, Exception):
                raise
            self._guard.report("the run did not end as it should", problem)
        finally:
            self._session.close()
            self._ended.set()
            self._stopping_thread = None
            atexit.unregister(self._stop_at_exit)

    def _give_up(self) -> None:
        """Report the rows that were not delivered, and stop at once; called where the end was interrupted."""
        if rows := self._signals.recorder.queued:
            self._guard.report(f"{rows} rows were not delivered", "the end of the run was interrupted")
        self._role.abandon()

    def __repr__(self) -> str:
        return card.as_text(self)

    def _repr_html_(self) -> str | None:
        # A cell that begins a run has its card already.
        return None if self._session.screen.is_shown_here else card.as_html(self)

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop(None, error)

    def _drain(self) -> None:
        while True:
            left = self._signals.recorder.drain(max_rows=_ROWS_PER_FLUSH)
            for reader in self._readers:
                self._session.guarded(reader.collect)
            if not left:
                break
            self._session.guarded(partial(self._role.wait_for_room, self._session.settings.stop_timeout))

    def _deliver(self) -> None:
        self._session.stop_measuring()
        self._session.stop_console()
        self._drain()
        # A receiver closes the run when it reads the report of the end, so that may not arrive before files and rows.
        # The last collection, which a reader makes when it is shut down, has the report.
        self._session.send_files()
        self._signals.outcome.end()
        # Not `MeterProvider.shutdown`: there all readers share one deadline, so a slow backend would leave no time for
        # the next.
        self._session.deliver([reader.shutdown for reader in self._readers])

    def _is_live(self, what: str) -> bool:
        if not self.is_of_this_process or not self._records or self._role.membership.repeats:
            return False
        if self._stopped:
            self._guard.report(f"{what} came too late", "the run has ended")
        return not self._stopped

    def flush(self) -> None:
        """Send what was recorded so far, and wait until relay and collector have it; at most `stop_timeout` each."""
        self._drain()
        timeout_ms = self._session.settings.stop_timeout * 1e3
        for reader in self._readers:
            self._session.guarded(partial(reader.force_flush, timeout_ms))

    def _stop_at_exit(self) -> None:
        self._stop(None, error_that_ended(self._error_before))
