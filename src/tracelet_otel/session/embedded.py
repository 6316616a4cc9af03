"""The relay of a run in the process that trains, where a relay process is not possible or not wanted."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tracelet_otel._support.guard import Guard
from tracelet_otel._support.processes import started
from tracelet_otel.errors import TraceletError
from tracelet_otel.exporters.otlp.backlog import Body
from tracelet_otel.exporters.otlp.transport import DELIVERED, Answer, Verdict
from tracelet_otel.protocol.messages import Order, Ready, Status, Taken
from tracelet_otel.protocol.requests import MalformedError, parse
from tracelet_otel.relay.phase import TooLateError
from tracelet_otel.relay.single import SingleRunRelay
from tracelet_otel.session.calls import NO_RELAY
from tracelet_otel.settings import Settings, to_plain


class EmbeddedRelay:
    """A `RelayConnection` to a relay in this process, which gets requests by a function call.

    The relay ends with the process. What a tracker has not taken by then stays in the journal, for `tracelet-otel
    replay` or for the next relay of the run.

    Args:
        settings: settings of the run.
        resource: attributes of the run's resource.
        run_id: id of the run.
        waits: whether it starts before its backends have the run, and waits for them.

    Raises:
        TraceletError: the journal cannot be written, or a backend can neither create nor continue the run.
    """

    outlives_process = False
    tells = True
    address = NO_RELAY

    def __init__(self, settings: Settings, resource: Mapping[str, Any], run_id: str, *, waits: bool = False) -> None:
        # Here the end of the run waits for the trackers, so it gives up on one as soon as `stop_timeout` says.
        settings = settings.model_copy(update={"relay_patience": settings.stop_timeout})
        order = Order(
            settings=to_plain(settings),
            resource=resource,
            run_id=run_id,
            token="",
            journal_directory=str(settings.journal_dir),
            host="",
            port=0,
            owner_pid=os.getpid(),
            owner_started=started(os.getpid()),
            resumes=waits,
        )
        self._finish = threading.Event()
        self._failed = False
        self._guard = Guard()
        self._relay = SingleRunRelay(order, self._guard, self._finish.is_set)
        self.urls: Mapping[str, str] = {}
        """Addresses at which people look at the run, by backend."""
        self.hints: Mapping[str, str] = {}
        """What has to be done before people can see the run, by backend."""
        try:
            self._relay.open(0, self._began)
        except BaseException:
            self._relay.give_back()
            raise
        self._thread: threading.Thread | None = threading.Thread(
            target=self._deliver, name="tracelet-relay", daemon=True
        )
        try:
            self._thread.start()
        except RuntimeError:
            # At exit some interpreters start no more threads. Then `status` delivers, on the thread that ends the run.
            self._thread = None

    @property
    def log(self) -> str:
        """Where to find the relay's messages."""
        return "the log of this process"

    def status(self, run_id: str) -> Status | None:
        """How far the delivery is; None for the id of another run. Without a thread, deliver here at the end."""
        if self._thread is None and self._finish.is_set() and not self._relay.run.is_over:
            self._deliver()
        status = self._relay.status(run_id)
        return replace(status, over=True) if status is not None and self._failed else status

    def transport(self, revive: Callable[[], None], guard: Guard) -> EmbeddedTransport:
        """Make the transport that hands requests to the relay; `revive` and `guard` are not needed."""
        return EmbeddedTransport(self._relay)

    def span_transport(self, revive: Callable[[], None], guard: Guard) -> EmbeddedTransport:
        """Make the transport that hands spans to the relay; `revive` and `guard` are not needed."""
        return EmbeddedTransport(self._relay, is_of_spans=True)

    def revive(self, wait_s: float = 0) -> None:
        """Do nothing: the relay lives as long as this process."""

    def release(self, wait_s: float) -> None:
        """Make the relay end as soon as it has delivered everything, and wait for that at most `wait_s` seconds."""
        self._finish.set()
        if self._thread is not None:
            self._thread.join(wait_s)

    def _began(self, ready: Ready) -> None:
        self.urls, self.hints = ready.urls, ready.hints

    def _deliver(self) -> None:
        try:
            if self._relay.deliver(self._finish.is_set):
                self._relay.leave(is_known=True)
        except Exception as error:
            self._guard.report("the delivery broke down", error)
            with contextlib.suppress(Exception):
                self._relay.run.close(self._relay.settings.relay_patience)
            # Whoever replays it must not find it in use.
            self._relay.journal.close()
            self._failed = True


class EmbeddedTransport:
    """A `Transport` that hands requests to a relay in this process.

    Args:
        relay: the relay.
        is_of_spans: whether requests have spans, and not metrics.
    """

    receiver = "the relay"

    def __init__(self, relay: SingleRunRelay, *, is_of_spans: bool = False) -> None:
        self._relay = relay
        self._is_of_spans = is_of_spans

    def send(self, body: Body) -> Answer:
        """Hand one request to the relay, which writes it to its journal."""
        answer: Taken | Exception | None = None
        try:
            if self._is_of_spans:
                self._relay.accept_spans(body.protobuf)
            else:
                (answer,) = self._relay.accept([parse(body.protobuf)])
        except (MalformedError, TraceletError) as error:
            answer = error
        if isinstance(answer, Exception):
            is_final = isinstance(answer, (MalformedError, TooLateError))
            return Answer(Verdict.REFUSED if is_final else Verdict.KEPT, str(answer))
        # The answer lists problems of the trackers. Here they are in the log of this process already.
        return DELIVERED

    def close(self) -> None:
        """Do nothing: there is no connection."""
