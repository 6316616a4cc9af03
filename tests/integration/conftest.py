from __future__ import annotations

import pytest

IN_PROCESS = pytest.mark.parametrize("mode", ["in process"], indirect=True)
"""Of a test of what comes before delivery: a relay adds seconds to it, and nothing to see."""
THROUGH_A_RELAY = pytest.mark.parametrize("mode", ["relay"], indirect=True)
OURS = {"in process": "False", "relay": "True"}
WHO = {"nobody": "", **OURS}
"""`TRACELET_RELAY` by who records, for a test that compares a script with itself without us."""


@pytest.fixture(autouse=True, params=["in process", pytest.param("relay", marks=pytest.mark.slow)])
def mode(request: pytest.FixtureRequest, clean_process: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the trackers live: each test passes with both, but for those that name one."""
    monkeypatch.setenv("TRACELET_RELAY", str(request.param == "relay"))
    return str(request.param)
