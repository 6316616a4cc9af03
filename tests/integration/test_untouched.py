"""Training with us and without us, in processes of one seed, is the same in all that can be seen."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import WHO

pytestmark = pytest.mark.usefixtures("with_time", "with_environment")

RELAYED = {who: relay for who, relay in WHO.items() if who != "in process"}


@pytest.fixture
def traces(run: Callable, database: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """What a training leaves, by who records it."""

    def each(loggers: str, relays: dict[str, str]) -> dict[str, Any]:
        seen = {}
        for who, relay in relays.items():
            # Paths are compared as they are below the home of each.
            home = tmp_path / who
            home.mkdir()
            (home / "mlflow.db").write_bytes(database.read_bytes())
            told = tmp_path / f"{who}.json"
            child = run("traces.py", who, loggers, told, cwd=home, TRACELET_RELAY=relay)
            assert child.returncode == 3, child.stderr
            seen[who] = json.loads(told.read_text().replace(str(home), ""))
        return seen

    return each


@pytest.mark.parametrize(
    ("loggers", "relays"),
    [
        ("off", WHO),
        pytest.param("default", RELAYED, marks=pytest.mark.slow),
        pytest.param("several", RELAYED, marks=pytest.mark.slow),
        pytest.param("off", RELAYED, marks=[pytest.mark.slow, pytest.mark.cold]),
    ],
    ids=["off", "default", "several", "interpreters of their own"],
)
def test_nothing_differs(traces, loggers, relays):
    without, *with_us = traces(loggers, relays).values()
    assert without["checkpoints"], "no checkpoint was written: the test would compare nothing"
    for seen in with_us:
        assert seen == without


@pytest.mark.slow
def test_a_compiled_module_has_the_same_graphs(run, database):
    counts = []
    for who, relay in RELAYED.items():
        child = run("compiled.py", who, TRACELET_RELAY=relay)
        assert child.returncode == 0, child.stderr
        counts.append(child.stdout.splitlines()[-1])
    assert counts[0] != "graphs 0 0"
    assert set(counts) == {counts[0]}
