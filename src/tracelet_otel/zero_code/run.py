"""The run of a process whose SDK was configured by somebody else. It begins with the first training."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from opentelemetry.metrics import get_meter_provider
from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData
from opentelemetry.sdk.resources import Resource

from tracelet_otel import semconv
from tracelet_otel._support.environment import environment
from tracelet_otel._support.guard import UNDELIVERED, Guard, log
from tracelet_otel._support.spawned import is_started_by_multiprocessing
from tracelet_otel.errors import TrackerUnavailableError
from tracelet_otel.instrumentation.own_run import Participation
from tracelet_otel.protocol.metrics_data import sample_count, with_attributes
from tracelet_otel.protocol.samples import resource_attributes
from tracelet_otel.resource.membership import Membership
from tracelet_otel.resource.rank_info import rank_info_of
from tracelet_otel.session.offered import offered
from tracelet_otel.zero_code.identity import identified
from tracelet_otel.zero_code.launching import OpensRun
from tracelet_otel.zero_code.parts import trainings_of
from tracelet_otel.zero_code.settings import role_of, settings_for
from tracelet_otel.zero_code.stream import of_run, resource_of

if TYPE_CHECKING:
    from tracelet_otel.instrumentation.lightning.trainings import Trainings
    from tracelet_otel.instrumentation.signals import Signals
    from tracelet_otel.session.parent import Parent
    from tracelet_otel.session.role import Role
    from tracelet_otel.session.session import Session
    from tracelet_otel.settings import Settings


class ZeroCodeRun:
    """An `OwnRun` that begins, delivers and ends without calls from the script, and never raises an error into it."""

    shows_end = True

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._guard = Guard()
        self._backends: list[str | None] = []
        self._changed = threading.Condition()
        self._kept: deque[MetricsData] = deque()
        self._settings: Settings | None = None
        self._role: Role | None = None
        self._signals: Signals | None = None
        self._claimed_s: float | None = None  # when somebody has begun to open the run, on the monotonic clock
        self._session: Session | None = None
        self._parent: Parent | None = None
        """The run of the process that has started this one; None where that has none."""
        self._is_open = False
        self._identity: Mapping[str, Any] = {}
        self._given_up = False
        self._ending = False
        self._closed = False

    @property
    def is_of_this_process(self) -> bool:
        """Whether this object was made in this process. The copy that a forked child has does nothing."""
        return os.getpid() == self._pid

    def join(self, backend: str | None) -> bool:
        """Add the backend of one exporter.

        Args:
            backend: name of the backend; None for those of `TRACELET_BACKEND`.

        Returns:
            Whether this is the first exporter of the process.
        """
        self._backends.append(backend)
        return len(self._backends) == 1

    def begin(self) -> Participation | None:
        """Read the settings, and choose the role of this process; None in a process that `multiprocessing` started."""
        try:
            from tracelet_otel.api.active import record_workers

            record_workers(partial(settings_for, self._backends))
            if is_started_by_multiprocessing():
                # If such a process is a rank, the callback of its trainer starts to record (`api.active.StartedRank`).
                return None
            role = self._take_role()
            settings = self._settings
            assert settings is not None  # noqa: S101
        except Exception as error:
            self._give_up(error)
            return Participation(Membership(rank_info_of(environment())))
        launching = OpensRun(role.launching, self._open_for_copies)
        return Participation.of(settings, role.membership, launching, owns_run=role.owns_run)

    def watch(self, signals: Signals) -> None:
        """Take the signals, of which the step is recorded with the readings of GPU and host."""
        self._signals = signals

    def training_begins(self) -> None:
        """Import on this thread what the run needs, and open the run on another one; later calls do nothing."""
        if self._claimed_s is not None or self._given_up or self._closed or not self.is_of_this_process:
            return
        try:
            self._prepare().start_console()
            with self._changed:
                self._start_opening(resource_attributes(get_meter_provider()))
        except Exception as error:
            self._give_up(error)

    @property
    def trainings(self) -> Trainings | None:
        """Begins a run for each trainer, where the settings ask for that."""
        return trainings_of(self, self._settings)

    def open_now(self) -> tuple[Role, Mapping[str, Any]] | None:
        """Open the run, and wait for that. Returns its role and the attributes of its resource; None without it."""
        self.training_begins()
        self._wait_for_opening()
        return (self._take_role(), self._identity) if self._is_open else None

    def end(self) -> None:
        """Wait until the run is open, and stop measuring GPU and host. `close` ends the run."""
        if self.is_of_this_process:
            self._wait_for_opening()
            self._ending = True
            if self._session is not None:
                self._session.stop_measuring()
                self._session.stop_console()

    def send_files(self) -> None:
        """Send files to a relay on another machine, and wait until it has them."""
        if self.is_of_this_process and self._session is not None and self._is_open:
            self._session.send_files()

    def export(self, data: MetricsData) -> MetricExportResult:
        """Pass an export of the SDK on to the run's exporters, or keep it until the run is open."""
        if not self.is_of_this_process:
            return MetricExportResult.SUCCESS
        number = sample_count(data, semconv.SCOPE_LOGGED)
        with self._changed:
            if self._given_up or self._closed:
                self._guard.count(UNDELIVERED, number)
                return MetricExportResult.FAILURE if number else MetricExportResult.SUCCESS
            if not self._is_open:
                if number or self._claimed_s is not None:
                    self._kept.append(of_run(data))
                    # A training has opened the run already, unless a user passed values to a logger before it.
                    self._start_opening(resource_of(data))
                return MetricExportResult.SUCCESS
            return self._hand_on(of_run(data))

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything that was exported is delivered, or accepted by a relay.

        Args:
            timeout_s: longest wait for the run to be open, and then for each exporter.
        """
        if not self.is_of_this_process:
            return True
        self._wait_for_opening(timeout_s)
        exporters = self._role.exporters if self._role is not None else ()
        return not self._kept and not self._given_up and all(one.force_flush(timeout_s * 1e3) for one in exporters)

    def close(self) -> None:
        """Deliver what is left and end the run, if one has begun. A second call does nothing."""
        if not self.is_of_this_process or self._closed:
            return
        self._wait_for_opening()
        if self._kept:
            self._give_up(TrackerUnavailableError("the run could not begin in time (start_timeout)"))
        self._closed = True
        offered.withdraw(self)
        try:
            if self._session is not None and self._is_open:
                self._session.stop_measuring()
                self._session.deliver([exporter.shutdown for exporter in self._session.role.exporters])
        except Exception as error:
            self._guard.report("the run did not end as it should", error)
        finally:
            if self._session is not None:
                self._session.close()
            missing = self._guard.counts.get(UNDELIVERED, 0)
            if missing:
                log.error("%d values were not delivered: %s", missing, "; ".join(self._guard.counts))

    def _take_role(self) -> Role:
        if self._role is None:
            from tracelet_otel.workers import parent_run

            settings = settings_for(self._backends)
            self._settings, self._parent = settings, parent_run()
            self._role = role_of(settings, self._parent)
        return self._role

    def _claim(self) -> bool:
        """Whether the caller is the one that has to open the run. Must be called with `_changed` held."""
        if self._claimed_s is not None or self._given_up or self._closed or not self.is_of_this_process:
            return False
        self._claimed_s = time.monotonic()
        return True

    def _start_opening(self, resource: Mapping[str, Any]) -> None:
        """Must be called with `_changed` held."""
        if self._claim():
            place = self._take_role().launching.place
            assert self._settings is not None  # noqa: S101
            offered.offer(self, self._settings, place, is_opening=True)
            opening = threading.Thread(target=self._open, args=(resource,), name="tracelet-zero-code", daemon=True)
            try:
                opening.start()
            except RuntimeError:
                # At exit some interpreters start no more threads. Then the run is opened on this one.
                self._open(resource)

    def _open_for_copies(self) -> None:
        with self._changed:
            is_mine = self._claim()
        if is_mine:
            self._open(resource_attributes(get_meter_provider()))

    def _prepare(self) -> Session:
        """Import what the run needs. The time of the first call is the run's start time."""
        from tracelet_otel.session.session import Session

        role = self._take_role()
        with self._changed:
            if self._session is None:
                assert self._settings is not None  # noqa: S101
                self._session = Session(self._settings, role, self._guard)
        self._session.prepare()
        return self._session

    def _open(self, resource: Mapping[str, Any]) -> None:
        try:
            session = self._prepare()
            identity = identified(resource, session, self._guard, self._parent)
            identity.update(session.open(identity, waits=True))
        except Exception as error:
            self._give_up(error)
            return
        with self._changed:
            is_late = self._closed or self._given_up
            if not is_late:
                self._identity, self._is_open = identity, True
                offered.offer(self, session.settings, session.role.launching.place)
                signals = self._signals
                if signals is not None:
                    session.guarded(lambda: session.send(Resource(dict(identity)), signals))
                if not self._ending:
                    session.measure(Resource(dict(identity)), self._step)
                while self._kept:
                    self._hand_on(self._kept.popleft())
                self._changed.notify_all()
        if is_late:
            # Nobody has waited so long: the run ends as that of a killed training.
            session.role.abandon()
            session.close()

    def _step(self) -> int:
        return self._signals.progress.step if self._signals is not None else 0

    def _hand_on(self, data: MetricsData) -> MetricExportResult:
        """Must be called with `_changed` held."""
        assert self._session is not None  # noqa: S101
        own = with_attributes(data, self._identity)
        results = [exporter.export(own) for exporter in self._session.role.exporters]
        return MetricExportResult.FAILURE if MetricExportResult.FAILURE in results else MetricExportResult.SUCCESS

    def _wait_for_opening(self, timeout_s: float | None = None) -> None:
        """Wait until the run is open, or cannot be opened.

        Args:
            timeout_s: longest wait; None for as long as the opening may take in all.
        """
        with self._changed:
            if self._claimed_s is None:
                return
            if timeout_s is None:
                # The first attempt needs all backends. The second one starts a relay that waits for them.
                longest_s = 2 * self._settings.start_timeout if self._settings else 0
                timeout_s = max(self._claimed_s + longest_s - time.monotonic(), 0)
            self._changed.wait_for(lambda: self._is_open or self._given_up, timeout_s)

    def _give_up(self, error: Exception) -> None:
        with self._changed:
            self._given_up = True
            offered.withdraw(self)
            lost = sum(sample_count(data, semconv.SCOPE_LOGGED) for data in self._kept)
            self._kept.clear()
            self._changed.notify_all()
        self._guard.count(UNDELIVERED, lost)
        self._guard.report("nothing is recorded", error)
