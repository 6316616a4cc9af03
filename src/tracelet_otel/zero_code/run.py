"""The run of a process whose SDK was configured by somebody else: it begins with its first training."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry.metrics import get_meter_provider
from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData
from opentelemetry.sdk.resources import Resource

from tracelet_otel import semconv
from tracelet_otel._support.environment import sdk_export_interval_s, sdk_exports_otlp
from tracelet_otel._support.guard import UNDELIVERED, Guard, log
from tracelet_otel._support.spawned import is_started_by_multiprocessing
from tracelet_otel.errors import TrackerUnavailableError
from tracelet_otel.instrumentation.lightning import LightningInstrumentor
from tracelet_otel.instrumentation.own_run import Nobodys, Participation
from tracelet_otel.protocol.metrics_data import sample_count, with_attributes
from tracelet_otel.protocol.run_identity import to_text
from tracelet_otel.protocol.samples import resource_attributes
from tracelet_otel.zero_code.identity import identified
from tracelet_otel.zero_code.launching import OpensRun
from tracelet_otel.zero_code.stream import of_run, resource_of

if TYPE_CHECKING:
    from tracelet_otel.exporters.destination import Destination
    from tracelet_otel.instrumentation.signals import Signals
    from tracelet_otel.session.role import Role
    from tracelet_otel.settings import Settings
    from tracelet_otel.system.monitor import Hardware


_run: ZeroCodeRun | None = None


def run_of_this_process() -> ZeroCodeRun:
    """The one that all exporters of this process are of."""
    global _run
    if _run is None or not _run.is_of_this_process:
        _run = ZeroCodeRun()
        LightningInstrumentor().own_run = _run
    return _run


class ZeroCodeRun:
    """An `OwnRun`: begins, delivers and ends by itself, and raises nothing into anybody's code."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._guard = Guard()
        self._backends: list[str | None] = []
        self._changed = threading.Condition()
        self._kept: deque[MetricsData] = deque()
        self._settings: Settings | None = None
        self._role: Role | None = None
        self._signals: Signals | None = None
        self._opening: threading.Thread | None = None
        self._destination: Destination | None = None
        self._identity: Mapping[str, Any] = {}
        self._began_unix_nano = 0
        self._hardware: Hardware | None = None
        self._given_up = False
        self._ending = False
        self._closed = False

    @property
    def is_of_this_process(self) -> bool:
        """Whether it was made here: a forked child has a copy that does nothing."""
        return os.getpid() == self._pid

    def join(self, backend: str | None) -> bool:
        """Take one more backend; None takes those of the settings. Returns whether it is the first."""
        self._backends.append(backend)
        return len(self._backends) == 1

    def begin(self) -> Participation | None:
        """See `OwnRun.begin`: settings are read, and this process gets its role."""
        if is_started_by_multiprocessing():
            # A rank among these is told by its training what it has to do.
            return None
        try:
            role = self._take_role()
        except Exception as error:
            self._give_up(error)
            return Nobodys().begin()
        from tracelet_otel.session.role import Owning

        launching = OpensRun(role.launching, self._open_for_copies)
        return Participation(role.membership, launching, owns_run=isinstance(role, Owning))

    def watch(self, signals: Signals) -> None:
        """See `OwnRun.watch`."""
        self._signals = signals

    def training_begins(self) -> None:
        """See `OwnRun.training_begins`: the run begins on a thread of its own, and all imports are made here."""
        if self._has_begun or self._closed or not self.is_of_this_process:
            return
        try:
            self._prepare()
            with self._changed:
                self._start_opening(resource_attributes(get_meter_provider()))
        except Exception as error:
            self._give_up(error)

    def end(self) -> None:
        """See `OwnRun.end`."""
        if self.is_of_this_process:
            self._wait_for_opening()
            self._ending = True
            if self._hardware is not None:
                self._hardware.stop()

    def export(self, data: MetricsData) -> MetricExportResult:
        """Hand on an export of the whole process; see `training_begins`."""
        if not self.is_of_this_process:
            return MetricExportResult.SUCCESS
        number = sample_count(data, semconv.SCOPE_LOGGED)
        with self._changed:
            if self._given_up or self._closed:
                self._guard.count(UNDELIVERED, number)
                return MetricExportResult.FAILURE if number else MetricExportResult.SUCCESS
            if self._destination is None:
                if number or self._opening is not None:
                    self._kept.append(of_run(data))
                    # A training has begun the run already, but for values that a user hands to a logger elsewhere.
                    self._start_opening(resource_of(data))
                return MetricExportResult.SUCCESS
            return self._hand_on(of_run(data))

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything that was exported is delivered, or handed to a relay."""
        if not self.is_of_this_process:
            return True
        self._wait_for_opening(timeout_s)
        exporters = self._destination.exporters if self._destination is not None else ()
        return not self._kept and all(one.force_flush(timeout_s * 1e3) for one in exporters)

    def close(self) -> None:
        """Deliver what is left and end the run, where one has begun."""
        if not self.is_of_this_process or self._closed:
            return
        self._wait_for_opening()
        if self._kept:
            self._give_up(TrackerUnavailableError("the run could not begin in time (start_timeout)"))
        self._closed = True
        try:
            if self._hardware is not None:
                self._hardware.stop()
            if self._destination is not None and self._settings is not None:
                deadline_s = time.monotonic() + self._settings.stop_timeout
                for exporter in self._destination.exporters:
                    exporter.shutdown(timeout_millis=self._settings.stop_timeout * 1e3)
                self._destination.finish(deadline_s)
        except Exception as error:
            self._guard.report("the run did not end as it should", error)
        finally:
            if self._role is not None:
                self._role.close()
            self._say_missing()

    def _say_missing(self) -> None:
        missing = self._guard.counts.get(UNDELIVERED, 0)
        if missing:
            log.error("%d values were not delivered: %s", missing, "; ".join(self._guard.counts))

    def _take_role(self) -> Role:
        if self._role is None:
            from tracelet_otel.api import next_role
            from tracelet_otel.exporters.registry import absolute, check, check_process
            from tracelet_otel.settings import OTLP, load

            arguments: dict[str, Any] = {"export_interval": sdk_export_interval_s()}
            named = [name for name in self._backends if name is not None]
            if named:
                others = load({}, None).backend if None in self._backends else ()
                arguments["backend"] = [*others, *named]
            settings = absolute(load(arguments, None))
            check_process(settings)
            for name in settings.backend if settings.relay_endpoint is None else ():
                check(name, settings)
            of_copies = settings.model_copy(update={"backend": (*settings.backend, OTLP)})
            self._settings = settings
            self._role = next_role(settings, of_copies if sdk_exports_otlp() else None)
        return self._role

    @property
    def _has_begun(self) -> bool:
        """Whether the run is there, is being opened, or cannot be had."""
        return self._opening is not None or self._destination is not None or self._given_up

    def _start_opening(self, resource: Mapping[str, Any]) -> None:
        """Must be called with `_changed` held."""
        if self._opening is None:
            self._opening = threading.Thread(
                target=self._open, args=(resource,), name="tracelet-zero-code", daemon=True
            )
            try:
                self._opening.start()
            except RuntimeError:
                # At exit some interpreters start no more threads.
                self._open(resource)

    def _open_for_copies(self) -> None:
        with self._changed:
            if self._has_begun:
                return
        self._open(resource_attributes(get_meter_provider()))

    def _prepare(self) -> Role:
        """Import what the run needs; a second call finds all of it there."""
        from tracelet_otel.resource import repository
        from tracelet_otel.system import monitor as hardware

        self._began_unix_nano = self._began_unix_nano or time.time_ns()
        role, settings = self._take_role(), self._settings
        role.prepare()
        if settings is not None and settings.track_git:
            repository.prepare()
        if settings is not None and settings.track_system:
            hardware.prepare()
        return role

    def _open(self, resource: Mapping[str, Any]) -> None:
        try:
            role = self._prepare()
            assert self._settings is not None  # noqa: S101
            identity = identified(resource, self._settings, self._guard)
            told = {**identity, semconv.RUN_START_TIME: to_text(self._began_unix_nano)}
            destination = role.open(told, self._guard, waits=True)
        except Exception as error:
            self._give_up(error)
            return
        for name, url in destination.urls.items():
            log.info("%s: %s", name, url)
        with self._changed:
            self._identity, self._destination = identity, destination
            try:
                self._measure(role)
            except Exception as error:
                self._guard.report("GPU and host are not measured", error)
            while self._kept:
                self._hand_on(self._kept.popleft())
            self._changed.notify_all()

    def _measure(self, role: Role) -> None:
        from tracelet_otel.system.monitor import hardware_of

        assert self._settings is not None  # noqa: S101
        assert self._destination is not None  # noqa: S101
        if role.reports_hardware and not self._ending:
            identity, signals = Resource(dict(self._identity)), self._signals
            self._hardware = hardware_of(
                self._settings,
                self._destination,
                identity,
                lambda: signals.progress.step if signals is not None else 0,
                self._guard,
            )

    def _hand_on(self, data: MetricsData) -> MetricExportResult:
        """Must be called with `_changed` held."""
        assert self._destination is not None  # noqa: S101
        own = with_attributes(data, self._identity)
        results = [exporter.export(own) for exporter in self._destination.exporters]
        return MetricExportResult.FAILURE if MetricExportResult.FAILURE in results else MetricExportResult.SUCCESS

    def _wait_for_opening(self, timeout_s: float | None = None) -> None:
        opening = self._opening
        if opening is not None and opening.ident is not None and opening is not threading.current_thread():
            if timeout_s is None:
                # One attempt to get the run from its backends, and one to get a relay that waits for them.
                timeout_s = 2 * self._settings.start_timeout if self._settings else 0
            opening.join(timeout_s)

    def _give_up(self, error: Exception) -> None:
        with self._changed:
            self._given_up = True
            lost = sum(sample_count(data, semconv.SCOPE_LOGGED) for data in self._kept)
            self._kept.clear()
            self._changed.notify_all()
        self._guard.count(UNDELIVERED, lost)
        expected = type(error).__module__.startswith("tracelet_otel")
        self._guard.report("nothing is recorded", str(error) if expected else error)
