"""A relay that somebody else started, as a sidecar or by hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import urllib3
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics
from opentelemetry.sdk.resources import Resource

from tracelet_otel._support.guard import Guard
from tracelet_otel.errors import ConfigurationError, TrackerError, TrackerUnavailableError
from tracelet_otel.exporters.registry import check_joined
from tracelet_otel.protocol.messages import Status
from tracelet_otel.session.calls import Address, HttpConnection, fetch_status, is_collector
from tracelet_otel.session.transport import RelayTransport
from tracelet_otel.settings import Settings

_PAUSE_S: Final = 0.2
_STATUS_S: Final = 5.0
_SERVER_ERROR: Final = HTTPStatus.INTERNAL_SERVER_ERROR
"""From here on, an answer may be another the next time."""


class JoinedRelay:
    """A relay that takes this process's run among others, or a collector that leads to one.

    Args:
        settings: with the relay's address and token.
        resource: attributes of the run's resource.
        run_id: the run's.

    Raises:
        ConfigurationError: it has none of our backends, refuses the token, or is no relay.
        TrackerError: a backend does not give it the run.
        TrackerUnavailableError: it does not answer, or its backend does not, within `start_timeout`.
    """

    def __init__(self, settings: Settings, resource: Mapping[str, Any], run_id: str) -> None:
        assert settings.relay_endpoint is not None  # noqa: S101
        assert settings.relay_token is not None  # noqa: S101
        self.address = Address(settings.relay_endpoint.rstrip("/"), settings.relay_token.get_secret_value())
        """Where it listens."""
        check_joined(settings)
        self.outlives_process = True
        """Whether it goes on when this process has ended."""
        deadline_s = time.monotonic() + settings.start_timeout
        self._announce(resource, deadline_s, settings.start_timeout)
        self.tells = not is_collector(self.address)
        """Whether it says how far the delivery is: a collector does not."""
        self.urls: Mapping[str, str] = self._wait_for_urls(settings, run_id, deadline_s) if self.tells else {}
        """Where people look at the run, by backend."""

    def status(self, run_id: str) -> Status | None:
        """How far the delivery of the run is; None where it does not answer."""
        return fetch_status(self.address, run_id)

    def transport(self, revive: Callable[[], None], guard: Guard) -> RelayTransport:
        """What the stream is sent with; `revive` is called where the relay does not answer."""
        return RelayTransport(lambda: self.address, revive, guard)

    @property
    def log(self) -> str:
        """Where to look for what it says."""
        return f"the output of the relay at {self.address.endpoint}"

    def revive(self, wait_s: float = 0) -> None:
        """Nothing: whoever started it starts it again."""

    def release(self, wait_s: float) -> None:
        """Nothing: it ends the run by what the stream says, and goes on with others."""

    def _announce(self, resource: Mapping[str, Any], deadline_s: float, timeout_s: float) -> None:
        """Make the run known: a request that has its resource and nothing else."""
        content = encode_metrics(MetricsData([ResourceMetrics(Resource(resource), [], "")])).SerializeToString()
        with HttpConnection() as connection:
            while True:
                try:
                    answer = connection.post(self.address, content, timeout_s=_left_s(deadline_s))
                    if answer.status == HTTPStatus.OK:
                        return
                    reason = f"it answers {answer.status}"
                    self._raise_final(answer.status)
                except urllib3.exceptions.HTTPError as error:
                    # It may be about to start, beside us.
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

    def _wait_for_urls(self, settings: Settings, run_id: str, deadline_s: float) -> Mapping[str, str]:
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
                    return status.urls
                problem = "; ".join(f"{name}: {status.accounts[name].problem or 'no answer'}" for name in waiting)
            if time.monotonic() >= deadline_s:
                raise TrackerUnavailableError(
                    f"the relay at {self.address.endpoint} got no run within {settings.start_timeout:g} s: {problem} "
                    f"(start_timeout)"
                )
            time.sleep(_PAUSE_S)


def _left_s(deadline_s: float) -> float:
    """What is left of a wait, and not nothing: a request without any time could only fail."""
    return max(deadline_s - time.monotonic(), 0.1)
