"""Publishes to the processes of other ranks where the run of this process is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tracelet_otel import semconv
from tracelet_otel._support.environment import set_spawn_context
from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.launching import InStartedProcess
from tracelet_otel.session.calls import Address
from tracelet_otel.session.ranks.rendezvous import Rendezvous, SpawnContext, address_from_this_process

MakeInProcess = Callable[[SpawnContext], InStartedProcess]
"""Makes what a process has to do that starts as a copy of this one."""


class RunAnnouncement:
    """A `Launching`: writes the file by which ranks meet, and names it in the environment while ranks may start.

    Args:
        spawn_context: names the file.
        make: makes what a copy of this process has to do.
        at_once: whether ranks are there already, which this process does not start.
    """

    def __init__(self, spawn_context: SpawnContext, make: MakeInProcess, *, at_once: bool) -> None:
        self._spawn_context = spawn_context
        self._make = make
        self._rendezvous = Rendezvous(spawn_context.job, spawn_context.run_number)
        self._wanted = at_once
        self._told: Address | None = None
        self._address: Callable[[], Address] | None = None
        self._resource: Mapping[str, Any] = {}
        self._guard = Guard()

    def open(self, resource: Mapping[str, Any], address: Callable[[], Address], guard: Guard) -> None:
        """The run has begun.

        Args:
            resource: attributes of its resource.
            address: where its relay is now.
            guard: where errors end.
        """
        self._resource, self._address, self._guard = resource, address, guard
        self.tell()

    def tell(self) -> None:
        """Write where the relay is, if somebody may want to know and has not been told yet."""
        if not self._wanted or self._address is None or (self._address() == self._told and self._rendezvous.is_there):
            return
        address = self._address()
        names = (semconv.RUN_ID, semconv.RUN_NAME, semconv.PROJECT_NAME)
        run_id, run_name, project = (str(self._resource[name]) for name in names)
        run_address = address_from_this_process(run_id, run_name, project, address.endpoint, address.token)
        try:
            if self._rendezvous.publish(run_address):
                self._told = address
            else:
                self._guard.report("other ranks are not told of this run", "another process has told them of its own")
        except Exception as error:
            self._guard.report("other ranks are not told of this run", error)

    def begin(self, training: int) -> None:
        """See `Launching.begin`."""
        self._wanted = True
        self.tell()
        self._spawn_context = replace(self._spawn_context, training=training)
        set_spawn_context(self._spawn_context.text())

    def end(self) -> None:
        """See `Launching.end`."""
        set_spawn_context(None)

    def close(self) -> None:
        """The run is over."""
        self._rendezvous.withdraw()

    @property
    def in_process(self) -> InStartedProcess:
        """See `Launching.in_process`."""
        return self._make(self._spawn_context)
