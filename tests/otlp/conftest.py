from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.otlp_receiver import GrpcReceiver, HttpReceiver
from tracelet_otel.exporters.otlp.settings import GRPC, HTTP

RECEIVERS: dict[str, type[GrpcReceiver] | type[HttpReceiver]] = {GRPC: GrpcReceiver, HTTP: HttpReceiver}


@pytest.fixture(params=RECEIVERS)
def protocol(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each protocol in turn, as the environment names it."""
    chosen: str = request.param
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", chosen)
    return chosen


@pytest.fixture
def receiver(protocol: str) -> Iterator[GrpcReceiver | HttpReceiver]:
    """An endpoint of that protocol."""
    receiver = RECEIVERS[protocol]()
    yield receiver
    receiver.stop()


@pytest.fixture
def backend() -> Iterator[HttpReceiver]:
    """What a collector forwards to."""
    receiver = HttpReceiver()
    yield receiver
    receiver.stop()
