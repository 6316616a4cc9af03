from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import tracelet_otel as tracelet
from tests.support.otlp_receiver import HttpReceiver
from tests.support.span_tree import SpanNode, spans_of, tree


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpReceiver]:
    """An endpoint, which the environment names."""
    receiver = HttpReceiver()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
    yield receiver
    receiver.stop()


@pytest.fixture
def recorded(receiver: HttpReceiver) -> Callable[[Callable[[], Any]], list[SpanNode]]:
    """The spans that a run of `backend="otlp"` leaves of what is done in it, as trees."""

    def record(train: Callable[[], Any]) -> list[SpanNode]:
        with tracelet.start_logging("a run", backend="otlp", config={"export_interval": 0.1}) as run:
            train()
        assert run.errors == {}
        return tree(spans_of(receiver.traces))

    return record
