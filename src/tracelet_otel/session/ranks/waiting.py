"""Exporters of a rank that may not have found its run yet. They keep what they get until then."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.resources import Resource

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel._support.text import encodable
from tracelet_otel.errors import RunLostError, TrackerUnavailableError
from tracelet_otel.exporters.otlp.exporter import OtlpExporter, collector_exporter
from tracelet_otel.exporters.otlp.spans import OtlpSpans
from tracelet_otel.protocol import samples
from tracelet_otel.protocol.messages import TRACES_PATH, Status
from tracelet_otel.protocol.metrics_data import instruments, sample_count
from tracelet_otel.session.calls import Address, fetch_status
from tracelet_otel.session.ranks.discovery import Find
from tracelet_otel.session.ranks.rendezvous import RunAddress
from tracelet_otel.session.transport import RelayTransport, relay_exporter

_LOOK_S: Final = 0.1
"""Pause between two attempts to find the run."""
_MOST_KEPT: Final = 200_000
"""How many samples are kept until the run is found."""
_LATEST_S: Final = 600.0
"""How long the run is looked for. Its owner may have much to do before it starts the run."""
_SAID_S: Final = 60.0
"""After this many seconds a warning says that the run is not found yet."""
_HINT: Final = (
    "rank 0 has started none on this machine. Where it is on another one, set TRACELET_RELAY_ENDPOINT, "
    "TRACELET_RELAY_TOKEN and TRACELET_RUN_ID for all ranks"
)
_STARTS_S: Final = 20.0
"""At its end, a rank that has values waits for the run until this many seconds after its start."""
_AT_END_S: Final = 2.0
"""At its end, each rank waits for the run at least this many seconds."""


class WaitingExporter(MetricExporter):
    """Keeps exports until the run is found, then passes them to the exporter that `_make` creates.

    A thread of its own looks for the run. In a forked child the exporter does nothing.

    Args:
        find: finds the run.
        attributes: returns attributes of this process's resource that become known later than the resource.
        who: this process in messages, as in `rank 1`.
        guard: where errors are reported.
    """

    def __init__(self, find: Find, attributes: Callable[[], Mapping[str, Any]], who: str, guard: Guard) -> None:
        super().__init__(
            preferred_temporality=samples.preferred_temporality(),
            preferred_aggregation=samples.preferred_aggregation(),
        )
        self.run_address: RunAddress | None = None
        self.on_found: Callable[[], object] = lambda: None
        """Called when the run is found, before anything is sent to it."""
        self._find = find
        self._attributes = attributes
        self._who = who
        self._guard = guard
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._kept: deque[MetricsData] = deque()
        self._kept_samples = 0
        self._exporter: OtlpExporter | None = None
        self._given_up = False
        self._began_s = time.monotonic()
        threading.Thread(target=self._wait, name="tracelet-rendezvous", daemon=True).start()

    def _make(self) -> OtlpExporter:
        """Create the exporter that sends, once the run is found."""
        raise NotImplementedError

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        """Keep an export until the run is found, or pass it on; fails where the run was given up."""
        if os.getpid() != self._pid:
            return MetricExportResult.SUCCESS
        with self._changed:
            if self._exporter is not None:
                return self._exporter.export(metrics_data, timeout_millis)
            if self._given_up:
                self._drop([metrics_data])
                return MetricExportResult.FAILURE
            # Each collection repeats all points. So an export without samples is not needed beside a later one of its
            # instruments.
            last = self._kept[-1] if self._kept else None
            if last is not None and not sample_count(last) and instruments(last) <= instruments(metrics_data):
                self._kept.pop()
            self._kept.append(metrics_data)
            self._kept_samples += sample_count(metrics_data)
            while self._kept_samples > _MOST_KEPT and len(self._kept) > 1:
                oldest = self._kept.popleft()
                self._kept_samples -= sample_count(oldest)
                self._guard.report(
                    f"so much of {self._who} waits for its run that the oldest values were dropped", _HINT
                )
                self._drop([oldest])
        return MetricExportResult.SUCCESS

    def wait_for_room(self, timeout_s: float) -> None:
        """Wait until at most half of the queue is taken. Returns at once as long as the run is not found.

        Args:
            timeout_s: give up after this many seconds in which nothing was delivered.
        """
        if os.getpid() != self._pid:
            return
        with self._changed:
            exporter = self._exporter
        if exporter is not None:
            exporter.wait_for_room(timeout_s)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Wait until the run is found and the receiver has everything."""
        if os.getpid() != self._pid:
            return True
        deadline_s = time.monotonic() + timeout_millis / 1e3
        with self._changed:
            self._changed.wait_for(lambda: self._exporter is not None or self._given_up, timeout_millis / 1e3)
            exporter = self._exporter
        return exporter is not None and exporter.force_flush(max(deadline_s - time.monotonic(), 0) * 1e3)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Wait as `force_flush` does, but for the run only a short time, then stop sending."""
        if os.getpid() != self._pid:
            return
        began_s = time.monotonic()
        timeout_s = max(kwargs.get("timeout", timeout_millis), 0) / 1e3
        with self._changed:
            # Rank 0 needs some seconds to start a relay. A short training of this rank may end before that.
            wait_s = max(_AT_END_S, self._began_s + _STARTS_S - began_s if any(map(sample_count, self._kept)) else 0)
            self._changed.wait_for(lambda: self._exporter is not None or self._given_up, min(timeout_s, wait_s))
        self._give_up(_HINT)
        if self._exporter is not None:
            self._exporter.shutdown(max(timeout_s - (time.monotonic() - began_s), 0) * 1e3)

    def _wait(self) -> None:
        said = False
        while time.monotonic() < self._began_s + _LATEST_S:
            try:
                run_address = self._find(None)
            except RunLostError as lost:
                self._give_up(str(lost))
                return
            except Exception as error:
                self._guard.report("the run of this rank could not be looked for", error)
                run_address = None
            if run_address is not None:
                self._found(run_address)
                return
            if not said and time.monotonic() > self._began_s + _SAID_S:
                said = True
                self._guard.report(f"{self._who} waits for its run", _HINT)
            with self._changed:
                if self._changed.wait_for(lambda: self._given_up, _LOOK_S):
                    return
        self._give_up(f"within {_LATEST_S:g} s, {_HINT}")

    def _found(self, run_address: RunAddress) -> None:
        with self._changed:
            if self._given_up:
                return
            self.run_address = run_address
            try:
                self.on_found()
                self._exporter = self._make()
            except Exception as error:
                self._give_up(str(error))
                return
            while self._kept:
                self._exporter.export(self._kept.popleft())
            self._changed.notify_all()

    def _give_up(self, reason: str) -> None:
        with self._changed:
            if self._given_up or self._exporter is not None:
                return
            self._given_up = True
            self._guard.report(f"nothing of {self._who} is recorded", reason)
            self._drop(self._kept)
            self._kept.clear()
            self._changed.notify_all()

    def _drop(self, exports: Sequence[MetricsData] | deque[MetricsData]) -> None:
        count = sum(sample_count(one) for one in exports)
        self._guard.count(f"values of {self._who} were not delivered", count)

    def known_attributes(self) -> Mapping[str, Any]:
        """Attributes of this process's resource that are known since the run was found."""
        assert self.run_address is not None  # noqa: S101
        return {
            **self._attributes(),
            semconv.RUN_ID: self.run_address.run_id,
            semconv.RUN_NAME: encodable(self.run_address.run_name),
            semconv.PROJECT_NAME: encodable(self.run_address.project),
            semconv.SERVICE_NAME: encodable(self.run_address.project),
        }


class RelayingExporter(WaitingExporter):
    """Waits for the run, then sends to its relay."""

    def status(self) -> Status | None:
        """How far the delivery of the run is; None where the run is not found, or its relay does not answer."""
        return fetch_status(self.address(), self.run_address.run_id) if self.run_address else None

    def spans(self, resource: Callable[[], Resource]) -> OtlpSpans:
        """Make what sends spans to the relay, once the run is found.

        Args:
            resource: returns the resource of this process.
        """
        transport = RelayTransport(self.address, self._look_again, self._guard, TRACES_PATH)
        return OtlpSpans(transport, "relay", self._guard, resource, is_to_relay=True)

    def _make(self) -> OtlpExporter:
        return relay_exporter(self.address, self._look_again, self._guard, self.known_attributes)

    def address(self) -> Address:
        """Address and token of the relay.

        Raises:
            TrackerUnavailableError: the run is not found yet.
        """
        if self.run_address is None:
            raise TrackerUnavailableError("the run is not found yet")
        return Address(self.run_address.endpoint, self.run_address.token)

    def _look_again(self) -> None:
        """Find the run again when its relay does not answer: the address may have changed, or the run may be over."""
        self.run_address = self._find(self.run_address) or self.run_address


class StreamingExporter(WaitingExporter):
    """Waits for the run, then sends to a collector with the run's attributes.

    Args:
        find: finds the run.
        attributes: returns attributes of this process's resource that become known later than the resource.
        who: this process in messages, as in `rank 1`.
        guard: where errors are reported.
        endpoint: address of the collector; None for that of OpenTelemetry's environment variables.
    """

    def __init__(
        self, find: Find, attributes: Callable[[], Mapping[str, Any]], who: str, guard: Guard, endpoint: str | None
    ) -> None:
        self._endpoint = endpoint
        super().__init__(find, attributes, who, guard)

    def _make(self) -> OtlpExporter:
        return collector_exporter(self._endpoint, self.known_attributes, self._guard)
