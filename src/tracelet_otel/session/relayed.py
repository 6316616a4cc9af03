"""The trackers of a run as its owner sees them: one exporter to the relay, and the relay's reports."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from opentelemetry.sdk.resources import Resource

from tracelet_otel._support.guard import Guard, log
from tracelet_otel.errors import TraceletError
from tracelet_otel.exporters.otlp.exporter import OtlpExporter
from tracelet_otel.exporters.otlp.spans import OtlpSpans
from tracelet_otel.exporters.otlp.transport import Transport
from tracelet_otel.protocol.account import Account
from tracelet_otel.protocol.messages import Status
from tracelet_otel.session.calls import Address, wait_for
from tracelet_otel.session.transport import TO_RELAY

_QUIET_S: Final = 2.0
"""How long the end of a run is waited for before it is said what is waited for."""
_PROGRESS_S: Final = 1.0
"""Seconds until that is said anew."""
_EXIT_S: Final = 2.0
"""How long the relay is waited for once it has delivered everything."""
_LEFT_TO_RELAY: Final = "The relay goes on; what it cannot deliver"


class RelayConnection(Protocol):
    """The connection to the relay of a run. This process has started the relay, has joined it, or contains it."""

    tells: bool
    """Whether the relay reports how far the delivery is."""
    outlives_process: bool
    """Whether the relay goes on with the delivery when this process has ended."""

    @property
    def address(self) -> Address:
        """The current address of the relay, for other ranks; `NO_RELAY` where they cannot reach it."""
        ...

    def status(self, run_id: str) -> Status | None:
        """How far the delivery of the run is; None where the relay does not answer."""
        ...

    def transport(self, revive: Callable[[], None], guard: Guard) -> Transport:
        """Make the transport that sends the stream to the relay. It calls `revive` when the relay does not answer."""
        ...

    def span_transport(self, revive: Callable[[], None], guard: Guard) -> Transport:
        """Make the transport that sends spans to the relay."""
        ...

    @property
    def urls(self) -> Mapping[str, str]:
        """Addresses at which people look at the run, by backend."""
        ...

    @property
    def hints(self) -> Mapping[str, str]:
        """What has to be done before people can see the run, by backend."""
        ...

    @property
    def log(self) -> str:
        """Where to find the relay's messages, in words that a user understands."""
        ...

    def revive(self, wait_s: float = ...) -> None:
        """Start the relay again if it has died and this process has started it; wait at most `wait_s` seconds."""
        ...

    def release(self, wait_s: float) -> None:
        """Tell the relay to end once it has delivered everything, and wait at most `wait_s` seconds for its end."""
        ...


class Relayed:
    """The trackers of a run, which are all reached through one relay.

    Args:
        connection: connection to the relay, in which the run is open.
        run_id: id of the run.
        attributes: returns attributes of this process's resource that become known later than the resource.
        guard: where errors are reported.
        on_revived: called when the relay may have been started again, since its address may have changed.
    """

    def __init__(
        self,
        connection: RelayConnection,
        run_id: str,
        attributes: Callable[[], Mapping[str, Any]],
        guard: Guard,
        on_revived: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._run_id = run_id
        self._on_revived = on_revived
        transport = connection.transport(self._revive, guard)
        self.exporter = OtlpExporter(transport, "relay", guard, TO_RELAY, attributes)
        """Sends the stream of this process to the relay."""
        self._last: Status | None = None
        self._finished = False
        self._guard = guard

    def spans(self, resource: Callable[[], Resource]) -> OtlpSpans:
        """Make what sends spans to the relay; `resource` returns the resource of this process."""
        transport = self._connection.span_transport(self._revive, self._guard)
        return OtlpSpans(transport, "relay", self._guard, resource, is_to_relay=True)

    @property
    def accounts(self) -> dict[str, Account]:
        """How many readings each tracker has taken; those that the relay has not accepted yet are in no number."""
        status = self._ask()
        return dict(status.accounts) if status else {}

    @property
    def ids(self) -> Mapping[str, str]:
        """The trackers' own ids of the run, as far as they are known."""
        status = self._ask()
        return status.ids if status else {}

    @property
    def errors(self) -> Mapping[str, int]:
        """How many errors the relay has counted, by what could not be done."""
        status = self._ask()
        return status.errors if status else {}

    def finish(self, deadline_s: float, say: Callable[[str], None]) -> Status | None:
        """Wait until the relay has delivered everything, log what is missing, and release the relay.

        A relay process goes on with what is left.

        Args:
            deadline_s: when to give up, a time of the monotonic clock in seconds. It does not apply to a relay that
                ends with this process, as that gives up by itself on a tracker that takes nothing.
            say: called each second with what is waited for, once that takes long.

        Returns:
            The last that the relay has said of the run; None where it has said nothing.
        """
        if not self._connection.tells:
            # There is nothing to wait for: this process cannot learn what becomes of what it has sent.
            self._connection.release(0)
            return None
        if not self._connection.outlives_process:
            # The relay may not know that the run has ended: with a full disk it accepts no report of that.
            self._connection.release(0)
        began_s = said_s = time.monotonic()

        def is_done() -> bool:
            nonlocal said_s
            status = self._ask()
            if status is None:
                self._revive_until(deadline_s)
            elif status.over:
                return True
            now_s = time.monotonic()
            if now_s - began_s > _QUIET_S and now_s - said_s > _PROGRESS_S:
                said_s = now_s
                self._say_progress(say)
            return False

        try:
            over = wait_for(is_done, deadline_s if self._connection.outlives_process else math.inf)
            self._finished = True
        finally:
            self._say_result()
        # A relay that has child runs of this one ends when they do.
        is_last = over and self._last is not None and not self._last.goes_on
        self._connection.release(_EXIT_S if is_last else 0)
        return self._last

    def _ask(self) -> Status | None:
        if self._finished:
            return self._last
        status = self._connection.status(self._run_id)
        self._last = status or self._last
        return status

    def _revive(self) -> None:
        self._connection.revive()
        self._on_revived()

    def _revive_until(self, deadline_s: float) -> None:
        try:
            self._connection.revive(max(deadline_s - time.monotonic(), 0.1))
        except TraceletError as problem:
            self._guard.report("the relay could not be started again", problem)
        self._on_revived()

    def _say_progress(self, say: Callable[[str], None]) -> None:
        if self._last is not None:
            parts = [
                f"{name} has {account.delivered} of {account.delivered + account.pending}"
                for name, account in self._last.accounts.items()
            ]
            say(f"waiting for delivery: {', '.join(parts)}")

    def _say_result(self) -> None:
        status = self._last
        if status is None:
            self._guard.report(
                "nobody knows what was delivered", f"the relay does not answer; see {self._connection.log}"
            )
            return
        for name, account in status.accounts.items():
            if name in status.unclosed:
                log.error(
                    "%s: %d readings delivered, %d refused, %d not delivered yet: %s. %s stays in %s, for "
                    "`tracelet-otel replay`",
                    name,
                    account.delivered,
                    account.refused,
                    account.pending,
                    account.problem,
                    _LEFT_TO_RELAY if self._connection.outlives_process else "What is left",
                    status.journal,
                )
            elif account.refused:
                log.error(
                    "%s: %d readings delivered, %d refused: %s",
                    name,
                    account.delivered,
                    account.refused,
                    account.problem,
                )
