"""The connection to a relay that this process has not started: a sidecar, or one that was started by hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final

import urllib3
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics
from opentelemetry.sdk.resources import Resource

from tracelet_otel.errors import ConfigurationError, TrackerError, TrackerUnavailableError
from tracelet_otel.exporters.registry import check_joined
from tracelet_otel.protocol.messages import Status
from tracelet_otel.session.calls import Address, HttpConnection, fetch_status, is_collector
from tracelet_otel.session.transport import HttpRelay
from tracelet_otel.settings import Settings

_PAUSE_S: Final = 0.2
"""Pause between two attempts."""
_STATUS_S: Final = 5.0
"""Longest wait for the answer to one question about the run."""
_TOLD_S: Final = 2.0
"""Longest wait for the relay of a parent. A relay that is away learns of the run by what is sent to it later."""
_SERVER_ERROR: Final = HTTPStatus.INTERNAL_SERVER_ERROR
"""Status codes from this one on may be temporary, so the request is sent again."""


class JoinedRelay(HttpRelay):
    """A `RelayConnection` to a relay that may have other runs too, or to a collector that forwards to a relay.

    Args:
        settings: settings of the run, with the relay's address and token.
        resource: attributes of the run's resource.
        run_id: id of the run.

    Raises:
        ConfigurationError: the relay lacks a backend that was asked for, refuses the token, or is no relay.
        TrackerError: a backend can neither create nor continue the run.
        TrackerUnavailableError: the relay or a backend does not answer within `start_timeout`.
    """

    def __init__(self, settings: Settings, resource: Mapping[str, Any], run_id: str) -> None:
        assert settings.relay_endpoint is not None  # noqa: S101
        assert settings.relay_token is not None  # noqa: S101
        self._address = Address(settings.relay_endpoint.rstrip("/"), settings.relay_token.get_secret_value())
        check_joined(settings)
        deadline_s = time.monotonic() + settings.start_timeout
        self._announce(resource, deadline_s, settings.start_timeout)
        self.tells = not is_collector(self.address)
        """Whether it reports how far the delivery is, which a collector does not."""
        status = self._wait_for_urls(settings, run_id, deadline_s) if self.tells else None
        self.urls: Mapping[str, str] = status.urls if status is not None else {}
        """Addresses at which people look at the run, by backend; empty for a collector."""
        self.hints: Mapping[str, str] = status.hints if status is not None else {}
        """What has to be done before people can see the run, by backend."""

    @property
    def address(self) -> Address:
        """Address and token of the relay."""
        return self._address

    @property
    def log(self) -> str:
        """Where to find the relay's messages, in words that a user understands."""
        return f"the output of the relay at {self.address.endpoint}"

    def revive(self, wait_s: float = 0) -> None:
        """Do nothing: whoever has started the relay has to start it again."""

    def release(self, wait_s: float) -> None:
        """Do nothing: the relay learns from the stream that the run has ended, and goes on with other runs."""

    def _announce(self, resource: Mapping[str, Any], deadline_s: float, timeout_s: float) -> None:
        """Make the run known to the relay, by a request that has the run's resource and no metrics."""
        content = _announcement(resource)
        with HttpConnection() as connection:
            while True:
                try:
                    answer = connection.post(self.address, content, timeout_s=_left_s(deadline_s))
                    if answer.status == HTTPStatus.OK:
                        return
                    reason = f"it answers {answer.status}"
                    self._raise_final(answer.status)
                except urllib3.exceptions.HTTPError as error:
                    # The relay may be starting at the same time as this process.
                    reason = type(error).__name__
                if time.monotonic() >= deadline_s:
                    raise TrackerUnavailableError(
                        f"no relay at {self.address.endpoint} within {timeout_s:g} s ({reason}): is it up? "
                        f"(start_timeout)"
                    )
                time.sleep(_PAUSE_S)

    def _raise_final(self, status: int) -> None:
        if status == HTTPStatus.UNAUTHORIZED:
            raise ConfigurationError(
                f"the relay at {self.address.endpoint} refuses the token: TRACELET_RELAY_TOKEN has to be the one "
                f"that it was started with"
            )
        if status < _SERVER_ERROR:
            raise ConfigurationError(
                f"what listens at {self.address.endpoint} is no relay of ours: it answers {status}"
            )

    def _wait_for_urls(self, settings: Settings, run_id: str, deadline_s: float) -> Status:
        while True:
            status = fetch_status(self.address, run_id, min(_left_s(deadline_s), _STATUS_S))
            problem = "it does not answer"
            if status is not None:
                absent = set(settings.trackers) - set(status.accounts)
                if absent and "backend" in settings.model_fields_set:
                    raise ConfigurationError(
                        f"the relay at {self.address.endpoint} delivers to {', '.join(status.accounts)}, "
                        f"not to {', '.join(sorted(absent))}"
                    )
                for name, reason in status.lost.items():
                    raise TrackerError(f"{name}: {reason}")
                waiting = [name for name in status.accounts if name not in status.urls]
                if not waiting:
                    return status
                problem = "; ".join(f"{name}: {status.accounts[name].problem or 'no answer'}" for name in waiting)
            if time.monotonic() >= deadline_s:
                raise TrackerUnavailableError(
                    f"the relay at {self.address.endpoint} got no run within {settings.start_timeout:g} s: {problem} "
                    f"(start_timeout)"
                )
            time.sleep(_PAUSE_S)


class ParentsRelay(HttpRelay):
    """A `RelayConnection` to the relay of the parent of a run. It is told of the run, and no answer is waited for long.

    Args:
        find: returns the relay's address at this moment.
        resource: attributes of the run's resource.
        run_id: id of the run.

    Raises:
        RunLostError: from `find`.
    """

    def __init__(self, find: Callable[[], Address], resource: Mapping[str, Any], run_id: str) -> None:
        self._find = find
        self._run_id = run_id
        self._address = find()
        # Spans and files are taken of a run that is known. Without this, they would wait for the first metrics.
        with HttpConnection() as connection, suppress(urllib3.exceptions.HTTPError):
            connection.post(self._address, _announcement(resource), timeout_s=_TOLD_S)
        self.tells = not is_collector(self._address)
        """Whether it reports how far the delivery is, which a collector does not."""
        self.hints: Mapping[str, str] = {}
        """Nothing: what has to be done is said of the parent."""

    @property
    def address(self) -> Address:
        """Address and token of the relay."""
        return self._address

    @property
    def urls(self) -> Mapping[str, str]:
        """Addresses at which people look at the run, by backend, as far as they are known."""
        status = self.status(self._run_id) if self.tells else None
        return {} if status is None else status.urls

    @property
    def log(self) -> str:
        """Where to find the relay's messages, in words that a user understands."""
        return "the log of the relay of its parent"

    def revive(self, wait_s: float = 0) -> None:
        """Find the relay again, which the parent may have started again."""
        self._address = self._find()

    def release(self, wait_s: float) -> None:
        """Do nothing: the relay learns from the stream that the run has ended."""


def _announcement(resource: Mapping[str, Any]) -> bytes:
    """A request that has a run's resource and no metrics."""
    content: bytes = encode_metrics(MetricsData([ResourceMetrics(Resource(resource), [], "")])).SerializeToString()
    return content


def _left_s(deadline_s: float) -> float:
    """Seconds until a deadline, but at least 0.1: a request without any time would always fail."""
    return max(deadline_s - time.monotonic(), 0.1)
