"""What one process does for one run, whether `start_logging` has begun the run or zero code has."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from opentelemetry.sdk.resources import Resource

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.protocol.run_identity import to_text
from tracelet_otel.session.role import Role
from tracelet_otel.settings import Settings
from tracelet_otel.system.monitor import Hardware, hardware_of

ShutDown = Callable[[float], object]
"""Shuts down a reader or an exporter, and waits for so many milliseconds at most until it has got rid of everything."""


class Session:
    """A role, and the readings of GPU and host beside it, from the beginning of a run to its end.

    It does not make a meter provider. Under the facade the provider is ours, with a reader for each of the role's
    exporters; under zero code it is somebody else's, whose exports are handed to them.

    Args:
        settings: what the run is to do.
        role: what this process does for it.
        guard: where errors are reported.
    """

    def __init__(self, settings: Settings, role: Role, guard: Guard) -> None:
        self.settings = settings
        self.role = role
        self._guard = guard
        self._began_unix_nano = time.time_ns()
        self._hardware: Hardware | None = None

    def prepare(self) -> None:
        """Import everything that the run needs, on the calling thread; threads of ours import nothing."""
        from tracelet_otel.resource import repository
        from tracelet_otel.system import monitor

        self.role.prepare()
        if self.settings.track_git:
            repository.prepare()
        if self.settings.track_system and self.role.reports_hardware:
            monitor.prepare()

    def open(self, identity: Mapping[str, Any], *, waits: bool = False) -> None:
        """Open the run; see `Role.open`. It began when this object was made.

        Args:
            identity: attributes of the run's resource.
            waits: whether a backend that cannot be reached is waited for.
        """
        started = {semconv.RUN_START_TIME: to_text(self._began_unix_nano)}
        self.role.open({**identity, **started}, self._guard, waits=waits)

    def measure(self, identity: Resource, step: Callable[[], int]) -> None:
        """Read GPU and host from now on, where this process is the one of its node that does it.

        Args:
            identity: resource of the run in this process.
            step: returns the current step of the training.
        """
        if self.role.reports_hardware:
            self._hardware = hardware_of(self.settings, self.role, identity, step, self._guard)

    def stop_measuring(self) -> None:
        """Read GPU and host a last time. A second call does nothing."""
        if self._hardware is not None:
            self._hardware.stop()

    def deliver(self, shut_downs: Iterable[ShutDown]) -> None:
        """Wait for the delivery of everything: as long as a backend takes something, and `stop_timeout` s beyond that.

        Args:
            shut_downs: one for each reader or exporter. Each has the whole time, so that a slow one takes none away.
        """
        deadline_s = time.monotonic() + self.settings.stop_timeout
        for shut_down in shut_downs:
            self.guarded(lambda one=shut_down: one(self.settings.stop_timeout * 1e3))  # type: ignore[misc]
        self.role.finish(deadline_s)

    def close(self) -> None:
        """The run has ended, or could not begin."""
        self.guarded(self.role.close)

    def guarded(self, call: Callable[[], object]) -> None:
        """Do a step of the run's end; an error is reported and keeps no other step from being done."""
        try:
            call()
        except Exception as error:
            self._guard.report("the run did not end as it should", error)
