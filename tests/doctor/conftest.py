from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.clearml_server import ClearmlServer
from tests.support.wandb_server import WandbServer


@pytest.fixture
def wandb_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    """A server of W&B's that the environment names, with the key for it."""
    server = WandbServer()
    monkeypatch.setenv("WANDB_BASE_URL", server.uri)
    monkeypatch.setenv("WANDB_API_KEY", server.api_key)
    yield server
    server.stop()


@pytest.fixture
def clearml_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ClearmlServer]:
    """A server of ClearML's that the environment names, with the credentials for it."""
    server = ClearmlServer()
    monkeypatch.setenv("CLEARML_API_HOST", server.uri)
    monkeypatch.setenv("CLEARML_API_ACCESS_KEY", server.access_key)
    monkeypatch.setenv("CLEARML_API_SECRET_KEY", server.secret_key)
    yield server
    server.stop()
