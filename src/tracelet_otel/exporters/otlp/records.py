"""Sends what a process has beside its metrics, with the sender that metrics have: what is not taken is kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import ClassVar

from opentelemetry.sdk.resources import Resource

from tracelet_otel._support.environment import environment, sdk_exports_otlp
from tracelet_otel._support.guard import Guard, log
from tracelet_otel.exporters.otlp.backlog import Body
from tracelet_otel.exporters.otlp.limits import Limits
from tracelet_otel.exporters.otlp.sender import Sender
from tracelet_otel.exporters.otlp.settings import OtlpSettings, read_beside
from tracelet_otel.exporters.otlp.signals import OtlpSignal
from tracelet_otel.exporters.otlp.transport import DELIVERED, Answer, Transport, Verdict


class OtlpRecords:
    """Sends records of one signal, on a thread of its own which begins with the first ones.

    In a forked child it does nothing.

    Args:
        transport: sends to the receiver.
        name: the receiver's name in the log.
        guard: counts and logs errors.
        resource: returns the resource of this process, with what is known of it by now.
        is_to_relay: whether it leads to a relay.
    """

    signal: ClassVar[OtlpSignal]
    """The signal, which a subclass names."""

    def __init__(
        self,
        transport: Transport,
        name: str,
        guard: Guard,
        resource: Callable[[], Resource],
        *,
        is_to_relay: bool = False,
    ) -> None:
        self.is_to_relay = is_to_relay
        """Whether it leads to a relay."""
        self._resource = resource
        self._transport = _Optional(transport, self.signal)
        self._limits = Limits(request_bytes=2**20, backlog_bytes=4 * 2**20, patience_s=5.0, what=self.signal.word)
        self._name = name
        self._guard = guard
        self._sender: Sender | None = None
        self._pid = os.getpid()

    @property
    def is_of_this_process(self) -> bool:
        """Whether this object was made in this process."""
        return os.getpid() == self._pid

    def put(self, content: bytes, number: int) -> None:
        """Queue a request without waiting for the receiver.

        Args:
            content: the request in protobuf form.
            number: how many records it has.
        """
        if self._sender is None:
            self._sender = Sender(self._transport, self._name, self._guard, self._limits)
        self._sender.put([Body(content, is_gzip=False, samples=number).packed], frozenset)

    def flush(self, timeout_s: float) -> None:
        """Wait until the receiver has everything, at most so many seconds; without any, only have it sent at once."""
        if self._sender is not None and self.is_of_this_process:
            self._sender.wait(timeout_s)

    def close(self, timeout_s: float) -> None:
        """Wait as `flush` does, stop sending, and log what was not delivered."""
        if self.is_of_this_process:
            if self._sender is not None:
                self._sender.close(timeout_s)
            else:
                self._transport.close()


def settings_beside(signal: OtlpSignal, endpoint: str | None) -> OtlpSettings | None:
    """Read how records are sent to the collector of a run, from OpenTelemetry's variables.

    Args:
        signal: the signal of the records.
        endpoint: the endpoint that is given for the run; one that the variables name for the signal takes precedence.

    Returns:
        None where the variable with the signal's exporters names other ones only, as `none`, and where the variables
        or the endpoint are for metrics only.

    Raises:
        ConfigurationError: a variable or the endpoint is malformed.
    """
    return read_beside(environment(), endpoint, signal) if sdk_exports_otlp(signal.variable) else None


class _Optional:
    """A `Transport` to a receiver that may not know the signal. That is logged once, and is no error."""

    def __init__(self, inner: Transport, signal: OtlpSignal) -> None:
        self.receiver = inner.receiver
        self._inner = inner
        self._signal = signal
        self._is_told = False

    def send(self, body: Body) -> Answer:
        answer = self._inner.send(body)
        if answer.verdict is not Verdict.UNKNOWN:
            return answer
        if not self._is_told:
            self._is_told = True
            reason, variable = answer.reason.partition(": ")[0], self._signal.variable
            log.info(
                "%s takes no %s (%s). OTEL_%s_EXPORTER=none turns them off",
                self.receiver,
                variable.lower(),
                reason,
                variable,
            )
        return DELIVERED

    def close(self) -> None:
        self._inner.close()
