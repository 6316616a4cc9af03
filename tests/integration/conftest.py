from __future__ import annotations

import pytest

IN_PROCESS = pytest.mark.parametrize("mode", ["in process"], indirect=True)
"""Of a test of what comes before delivery: a relay would add to its time, and nothing to see."""
BOTH = pytest.mark.parametrize("mode", ["relay", pytest.param("in process", marks=pytest.mark.slow)], indirect=True)
OURS = {"in process": "False", "relay": "True"}
WHO = {"nobody": "", **OURS}
"""`TRACELET_RELAY` by who records, for a test that compares a script with itself without us."""


@pytest.fixture(autouse=True)
def mode(request: pytest.FixtureRequest, clean_process: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the trackers live: in a relay, as they do by default, but for tests that name another place."""
    chosen = str(getattr(request, "param", "relay"))
    monkeypatch.setenv("TRACELET_RELAY", str(chosen == "relay"))
    return chosen
