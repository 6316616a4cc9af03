"""Publishes the address of this process's run to the processes of other ranks, and to those that work for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tracelet_otel import semconv
from tracelet_otel._support.environment import set_spawn_context
from tracelet_otel._support.guard import Guard
from tracelet_otel.instrumentation.launching import InStartedProcess
from tracelet_otel.resource.run_resource import code_of
from tracelet_otel.session.calls import Address
from tracelet_otel.session.ranks.rendezvous import Rendezvous, SpawnContext, address_from_this_process

MakeInProcess = Callable[[SpawnContext], InStartedProcess]
"""Makes the function that is called in a process that starts as a copy of this one."""


class RunAnnouncement:
    """A `Launching` that publishes the run to other ranks.

    It writes the rendezvous file, in which ranks find the run's address. While a training may start ranks, it names
    that file in the environment.

    Args:
        spawn_context: names the file.
        make: makes the function that is called in a copy of this process.
        settings: settings of the run as `settings.to_plain` gives them, without secrets, for processes that work for
            this one.
        at_once: whether to write the file as soon as the run is open, since a launcher has started the other ranks, or
            workers may train. If not, it is written when the first training begins that may start ranks.
    """

    def __init__(
        self, spawn_context: SpawnContext, make: MakeInProcess, settings: Mapping[str, Any], *, at_once: bool
    ) -> None:
        self._spawn_context = spawn_context
        self._make = make
        self._settings = settings
        self._rendezvous = Rendezvous(spawn_context.job, spawn_context.run_number)
        self._wanted = at_once
        self._published: Address | None = None
        self._address: Callable[[], Address] | None = None
        self._resource: Mapping[str, Any] = {}
        self._guard = Guard()

    def open(self, resource: Mapping[str, Any], address: Callable[[], Address], guard: Guard) -> None:
        """Publish the run, which has begun, if other ranks may need it already.

        Args:
            resource: attributes of the run's resource.
            address: returns the current address of the run's relay.
            guard: where errors are reported.
        """
        self._resource, self._address, self._guard = resource, address, guard
        self.tell()

    def tell(self) -> None:
        """Publish the relay's address, if ranks may need it and it has changed or its file is gone."""
        if (
            not self._wanted
            or self._address is None
            or (self._address() == self._published and self._rendezvous.is_there)
        ):
            return
        address = self._address()
        names = (semconv.RUN_ID, semconv.RUN_NAME, semconv.PROJECT_NAME)
        run_id, run_name, project = (str(self._resource[name]) for name in names)
        code = code_of(self._resource)
        run_address = address_from_this_process(
            run_id, run_name, project, address.endpoint, address.token, self._settings, code
        )
        try:
            if self._rendezvous.publish(run_address):
                self._published = address
            else:
                self._guard.report("other ranks are not told of this run", "another process has told them of its own")
        except Exception as error:
            self._guard.report("other ranks are not told of this run", error)

    def begin(self, training: int) -> None:
        """Publish the run, and name its file in the environment for ranks that the training starts."""
        self._wanted = True
        self.tell()
        self._spawn_context = replace(self._spawn_context, training=training)
        set_spawn_context(self._spawn_context.text())

    def end(self) -> None:
        """Remove the file's name from the environment."""
        set_spawn_context(None)

    def close(self) -> None:
        """Delete the rendezvous file, since the run is over."""
        self._rendezvous.withdraw()

    @property
    def place(self) -> str:
        """Text by which a process that works for this one finds the run; empty where the run is not published."""
        return replace(self._spawn_context, training=0).text() if self._wanted else ""

    @property
    def in_process(self) -> InStartedProcess:
        """The function to call in a process that starts as a copy of this one."""
        return self._make(self._spawn_context)
