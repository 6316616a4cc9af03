from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, params=["in process", pytest.param("relay", marks=pytest.mark.slow)])
def mode(request: pytest.FixtureRequest, clean_process: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the trackers live: each test passes with both."""
    monkeypatch.setenv("TRACELET_RELAY", str(request.param == "relay"))
    return str(request.param)
