"""Every benchmark runs to its end at its smallest size, and the report has a table of what each leaves."""

from __future__ import annotations

import ast
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from benchmarks.child import ROOT, environment
from benchmarks.report import TABLES
from benchmarks.results import KEPT, Results

from tests.support import services
from tests.support.collector import tool

pytestmark = [pytest.mark.slow, pytest.mark.cold, pytest.mark.whole]


def is_benchmark(path: Path) -> bool:
    """Whether the `main` of a module is told its size, and where to leave figures; that of other programs is not."""
    found = [one for one in ast.parse(path.read_text()).body if isinstance(one, ast.FunctionDef) and one.name == "main"]
    return any(one.args.args for one in found)


BENCHMARKS = [path.stem for path in sorted((ROOT / "benchmarks").glob("*.py")) if is_benchmark(path)]
WARM = ("overhead", "start", "throughput", "verdicts")
"""Those of many cases, each with a process of its own: here these are forked. The others start new interpreters and
MLflow servers by the same functions."""


@pytest.fixture
def warm(
    warm_server: Callable[[], str],
    relay_server: Callable[[], str],
    migrated_database: Path,
    request: pytest.FixtureRequest,
) -> Callable[[], str]:
    """Gives what `warm.py` is told; servers that do not run yet are started."""

    def order() -> str:
        server = request.getfixturevalue("mlflow_server").uri
        sockets = {"scripts": warm_server(), "relays": relay_server()}
        return json.dumps({**sockets, "server": server, "database": str(migrated_database)})

    return order


@pytest.fixture
def results() -> Results:
    """What benchmarks have left in this run of tests."""
    home = services.shared("figures", lambda home: {"directory": str(home / "of-benchmarks")})
    return Results(Path(home["directory"]))


def end(name: str, results: Results, warm: Callable[[], str]) -> tuple[int, str]:
    """How a benchmark has ended, and what it has printed. It runs once, for the first test that asks."""

    def start(home: Path) -> dict[str, object]:
        program = ["tests.benchmarks.warm", warm(), name] if name in WARM else [f"benchmarks.{name}"]
        command = [sys.executable, "-m", *program, "--smallest", "--results", str(results.directory)]
        told = environment(HOME=str(home), TRACELET_TOOLS=str(Path(tool("otelcol")).parent))
        # It is for tests that compare what was logged.
        del told["TRACELET_TRACK_SYSTEM"], told["TRACELET_TRACK_TIME"]
        child = subprocess.Popen(
            command, cwd=home, env=told, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            output, _ = child.communicate()
        finally:
            # Who is asked to end ends its servers.
            child.terminate()
        return {"code": child.wait(), "output": output}

    ended = services.shared(f"benchmark-{name}", start)
    return ended["code"], ended["output"]


def numbers(figures: object) -> Iterator[float]:
    """All of them, at any depth."""
    if isinstance(figures, dict | list):
        for one in figures.values() if isinstance(figures, dict) else figures:
            yield from numbers(one)
    elif isinstance(figures, int | float):
        yield figures


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_leaves_its_figures(name, results, warm):
    kept = state(KEPT.directory)
    code, output = end(name, results, warm)
    assert code == 0, output
    cases = results.load(name)["results"]
    assert cases
    for case, figures in cases.items():
        found = list(numbers(figures))
        assert all(map(math.isfinite, found)), case
        assert any(one > 0 for one in found), case
    assert state(KEPT.directory) == kept


def state(directory: Path) -> dict[str, int]:
    """When each file was written."""
    return {one.name: one.stat().st_mtime_ns for one in os.scandir(directory)}


@pytest.mark.timeout(600)
def test_the_report_has_a_table_of_all(results, warm):
    # From the other end: another process of this run of tests may be at the first ones.
    for name in reversed(BENCHMARKS):
        code, output = end(name, results, warm)
        assert code == 0, output
    assert results.names() == BENCHMARKS
    for name, table in TABLES.items():
        assert any(map(str.isdigit, table(results))), name
