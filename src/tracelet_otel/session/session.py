"""What one process does for one run, from its beginning to its end.

It is the same whether `start_logging` has started the run, or the run was started without code (`zero_code`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

from opentelemetry.sdk.resources import Resource

from tracelet_otel import semconv
from tracelet_otel._support.environment import environment
from tracelet_otel._support.guard import Guard
from tracelet_otel.exporters.registry import run_to_continue
from tracelet_otel.instrumentation.signals import Signals
from tracelet_otel.instrumentation.spool import SpoolWriter
from tracelet_otel.protocol.files import PACKAGES_FILE
from tracelet_otel.protocol.main_metrics import MetricRange
from tracelet_otel.protocol.run_identity import to_text
from tracelet_otel.resource.attempts import Again, begun
from tracelet_otel.resource.packages import installed_packages
from tracelet_otel.resource.run_resource import default_run_name, new_run_id
from tracelet_otel.session.beside import BesideMetrics
from tracelet_otel.session.console.capture import ConsoleCapture, console_of
from tracelet_otel.session.faults import FaultFile, fault_file_of
from tracelet_otel.session.outgoing import OutgoingFiles
from tracelet_otel.session.parent import Parent
from tracelet_otel.session.role import Role
from tracelet_otel.session.screen import RunBegun, RunEnded, RunScreen
from tracelet_otel.settings import Settings
from tracelet_otel.system.monitor import Hardware, hardware_of

ShutDown = Callable[[float], object]
"""Shuts down a reader or an exporter: waits at most this many milliseconds until everything in it is delivered."""


class Session:
    """The role of this process in one run, together with the measurement of GPU and host.

    It does not make a meter provider. `Run` makes one, with a reader for each of the role's exporters. `ZeroCodeRun`
    uses the provider that somebody else has configured, and passes what it exports to the role's exporters.

    Args:
        settings: settings of the run.
        role: role of this process in the run.
        guard: where errors are reported.
    """

    def __init__(self, settings: Settings, role: Role, guard: Guard) -> None:
        self.settings = settings
        self.role = role
        self._guard = guard
        self._began_unix_nano = time.time_ns()
        self._hardware: Hardware | None = None
        self._faults: FaultFile | None = None
        self._beside = BesideMetrics(guard)
        self._outgoing: OutgoingFiles | None = None
        self._making = threading.Lock()
        self._is_ending = False
        """Whether all files are there, so that those which have not been sent are sent before anything else."""
        self._spool: SpoolWriter | None = None
        self._console: ConsoleCapture | None = None
        self._again: Again | None = None
        self._parent: Parent | None = None
        self._signals: Signals | None = None
        self.screen = RunScreen(is_quiet=True, guard=guard)
        """What people see of the run."""

    def identify(
        self, run_id: str = "", run_name: str = "", *, parent: Parent | None = None, goes_on: bool = True
    ) -> tuple[str, str]:
        """Find the id and the name of the run: what settings name, then what the job has had before.

        Args:
            run_id: the id where neither has any; empty for a new one.
            run_name: the name where neither has any; empty for one of script and time.
            parent: the run that this one is a part of, and always a new one; None for none.
            goes_on: whether the run may be one that an earlier start for the same job has begun. Not where the runs of
                a script begin in another order each time, as those of threads do.
        """
        settings, role, self._parent = self.settings, self.role, parent
        named = run_to_continue(settings) if parent is None else None
        name = settings.exp_name or run_name or default_run_name()
        if named is None and goes_on and parent is None and role.owns_run:
            self._again = begun(settings, environment(), role.membership.start_number, name, self._guard)
        again = self._again
        if again is not None:
            run_id, name = again.run_id, again.attempt.run_name
        return named or run_id or new_run_id(), name

    @property
    def purpose(self) -> dict[str, str | int]:
        """Resource attributes that say what the run is for, of which run it is a part, and which attempt this is."""
        below = {} if self._parent is None else {semconv.PARENT_RUN_ID: self._parent.run_id}
        return {**self.settings.purpose, **below, **(self._again.attributes if self._again is not None else {})}

    def prepare(self) -> None:
        """Import everything that the run needs, on the calling thread. The threads of this package import nothing."""
        from tracelet_otel.resource import repository
        from tracelet_otel.system import monitor

        self.role.prepare()
        if self.settings.track_git:
            repository.prepare()
        if self.settings.track_system and self.role.reports_hardware:
            monitor.prepare()

    def open(self, identity: Mapping[str, Any], *, waits: bool = False) -> Mapping[str, Any]:
        """Open the run in its role. The run's start time is the time at which this object was made.

        Args:
            identity: attributes of the run's resource.
            waits: whether to start the run even if a backend cannot be reached, and wait for that backend.

        Returns:
            Resource attributes of which some are known only now.

        Raises:
            TraceletError: the run cannot be created or found.
        """
        started = {semconv.RUN_START_TIME: to_text(self._began_unix_nano)}
        is_quiet = self.settings.quiet or self._parent is not None or not self.role.owns_run
        self.screen = RunScreen(is_quiet=is_quiet, guard=self._guard)
        try:
            # What starts beside the training is not waited for.
            with nullcontext() if waits else self.screen.opening(self.settings.backend):
                self.role.open({**identity, **started}, self._guard, waits=waits)
        except BaseException:
            self._withdraw()
            raise
        if self._again is not None:
            self._again = self._again.told(self.role.ask_attempt())
        try:
            self._faults = fault_file_of(self.settings, self.role)
        except OSError as error:
            self._guard.report("where a crash happens will not be known", error)
        if not is_quiet:
            # A part of another run would have to ask its relay for this.
            hints, urls = self.role.hints, self.role.urls
            places = {name: hints.get(name, url) for name, url in urls.items()}
            name, project = str(identity[semconv.RUN_NAME]), str(identity[semconv.PROJECT_NAME])
            self.screen.begin(RunBegun(name, project, self.role.run_id, places), self._progress)
        return self.purpose

    def _progress(self) -> dict[str, str]:
        """What a notebook shows of the run while it goes on."""
        if self._signals is None:
            return {}
        figures = {"step": f"{self._signals.progress.step:,}", "rows": f"{self._signals.recorder.rows:,}"}
        return figures | {name: f"{one.delivered:,} readings delivered" for name, one in self.role.accounts.items()}

    def _withdraw(self) -> None:
        """The run could not begin, so this was no attempt at it."""
        if self._again is not None:
            try:
                self._again.withdraw()
            except OSError as error:
                self._guard.report("an attempt is counted that could not begin", error)

    def send(self, identity: Resource, signals: Signals) -> None:
        """Send spans, events and files of this process, also from before the run was open, and what it prints.

        Args:
            identity: resource of the run in this process.
            signals: has them.
        """
        self._beside.open(self.role, identity)
        self._spool, self._signals = signals.spool, signals
        self._spool.open(self.role, self._notice_files)
        self.role.when_found(self._find_spool)
        if signals.owns_run and semconv.PARENT_RUN_ID not in identity.attributes:
            # Those of a run below another one are that one's.
            signals.own_files.add(PACKAGES_FILE, installed_packages)
        signals.events.add_exporter(self._beside)
        if signals.tracing is not None:
            signals.tracing.add_exporter(self._beside)
        if self._again is not None:
            signals.attempts.begin(self._again)
        self.start_console()

    def _find_spool(self) -> None:
        """The run may be found, and nothing was sent to it yet: a rank of a short training finds it at its end."""
        if self._spool is not None:
            self._spool.find()
        if self._is_ending:
            self.send_files()

    def _notice_files(self) -> None:
        """There may be new files in the spool, which another machine's relay does not see."""
        role = self.role
        with self._making:
            if self._outgoing is None and role.file_relay is not None and role.spool is not None:
                self._outgoing = OutgoingFiles(role.spool, role.run_id, role.file_relay, self._guard)
        if self._outgoing is not None:
            self._outgoing.notice()

    def send_files(self) -> None:
        """Send files to a relay on another machine. It may close the run as soon as it knows of the end."""
        self._is_ending = True
        if self._outgoing is not None:
            self.guarded(partial(self._outgoing.finish, self.settings.stop_timeout))

    def measure(self, identity: Resource, step: Callable[[], int]) -> None:
        """Start to measure GPU and host, if this process is the one that does so on its node.

        Args:
            identity: resource of the run in this process.
            step: returns the current step of the training.
        """
        if self.role.reports_hardware:
            try:
                self._hardware = hardware_of(self.settings, self.role, identity, step, self._guard)
            except Exception as error:
                self._guard.report("GPU and host are not measured", error)

    def stop_measuring(self) -> None:
        """Measure GPU and host a last time, and stop. A second call does nothing."""
        if self._hardware is not None:
            self._hardware.stop()

    def start_console(self) -> None:
        """Record what is printed from now on, where the settings ask for it; later calls do nothing.

        It may come before the run is open, and is kept until then.
        """
        if self._console is None:
            on_lines, on_put = self._beside.export_events, self._notice_files
            self._console = console_of(self.settings, self.role, self._guard, on_lines, on_put)

    def stop_console(self) -> None:
        """Record nothing more of what is printed. A second call does nothing."""
        if self._console is not None:
            self.guarded(self._console.close)

    def deliver(self, shut_downs: Iterable[ShutDown]) -> None:
        """Shut down readers or exporters, then wait until the role has delivered everything.

        Each reader or exporter may take `stop_timeout` seconds. The role gets a deadline that is this long after the
        call of this method.

        Args:
            shut_downs: one for each reader or exporter. Each gets the whole time, so a slow one takes none from others.
        """
        began_s = time.monotonic()
        self._beside.hurry()
        for shut_down in shut_downs:
            self.guarded(lambda one=shut_down: one(self.settings.stop_timeout * 1e3))  # type: ignore[misc]
        self._beside.finish(began_s, self.settings.stop_timeout)
        self.send_files()
        if self._spool is not None:
            self._spool.close()
        status = self.role.finish(began_s + self.settings.stop_timeout, self.screen.wait)
        self._show_end(() if status is None else status.values)

    def _show_end(self, values: Sequence[MetricRange]) -> None:
        signals = self._signals
        if signals is None or not self.screen.is_shown:
            return
        outcome = signals.outcome
        took_s = (outcome.end_unix_nano - self._began_unix_nano) / 1e9
        rows, accounts = signals.recorder.rows, self.role.accounts
        self.screen.end(RunEnded(outcome.value, max(took_s, 0), rows, accounts, values, signals.time_spent))

    def close(self) -> None:
        """Close the role. Call it once the run has ended, or could not begin."""
        self.stop_console()
        self._beside.finish(0, 0)
        self.guarded(self.role.close)
        if self._faults is not None:
            self.guarded(self._faults.close)

    def guarded(self, call: Callable[[], object]) -> None:
        """Do one step of the run's end. An error is reported, so that the steps after it are still done."""
        try:
            call()
        except Exception as error:
            self._guard.report("the run did not end as it should", error)
