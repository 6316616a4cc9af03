"""The tracker of `examples/`, installed as a distribution of somebody else's: nothing in the package knows its name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from tests.packaging.building import build
from tests.support.waiting import wait_until

EXAMPLE = Path(__file__).parents[2] / "examples/jsonl_tracker"
STARTS = """
import tracelet_otel
with tracelet_otel.start_logging("mine", backend="jsonl", config={"track_system": False}) as run:
    run.log_params({"lr": 0.1})
    run.set_tags({"stage": "draft", "team": "vision"})
    run.set_tags({"stage": "final"})
    for step in range(100):
        run.log_metric("loss", step / 3, step)
assert (run.accounts["jsonl"].delivered, run.errors) == (100, {}), (run.accounts, run.errors)
print(run.urls["jsonl"])
"""
OLD = """
import tracelet_otel
from tracelet_jsonl.tracker import JsonlTracker
del JsonlTracker.set_tags
config = {"track_system": False, "relay": False, "tags": {"team": "vision"}, "notes": "a note"}
with tracelet_otel.start_logging("mine", backend="jsonl", config=config) as run:
    run.log_params({"lr": 0.1})
    run.log_metric("loss", 0.5, 1)
assert run.errors == {"jsonl has no place for tags and notes": 2}, run.errors
print(run.urls["jsonl"])
"""
"""With the tracker as it would be if it had been written before there were tags."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that has it beside the package."""
    home = tmp_path_factory.mktemp("tracker")
    with zipfile.ZipFile(build(EXAMPLE, home)) as wheel:
        wheel.extractall(home / "site")
    return {**os.environ, "PYTHONPATH": str(home / "site"), "TRACELET_JOURNAL_DIR": str(home / "journals")}


def ran(command: list[str | Path], environment: dict[str, str], directory: Path) -> str:
    child = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stdout + child.stderr
    return child.stdout


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_it_passes_the_contract(installed: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", EXAMPLE, EXAMPLE / "tests"]
    assert " passed" in ran(command, installed, tmp_path)


def test_it_is_a_backend_by_its_name(installed: dict[str, str], tmp_path: Path) -> None:
    (path,) = ran([sys.executable, "-c", STARTS], installed, tmp_path).splitlines()
    found = lines(Path(path))
    assert [(line["metric"], line["step"], float(str(line["value"]))) for line in found if "metric" in line] == [
        ("loss", step, step / 3) for step in range(100)
    ]
    assert [line["value"] for line in found if line.get("param") == "lr"] == ["0.1"]
    tags = {str(line["tag"]): line["value"] for line in found if "tag" in line}
    assert tags == {"stage": "final", "team": "vision"}
    assert found[-1]["outcome"] == "finished"
    assert Path(path).parent == tmp_path / "jsonl-runs"


def test_one_that_was_written_before_there_were_tags_gets_all_else(installed: dict[str, str], tmp_path: Path) -> None:
    (path,) = ran([sys.executable, "-c", OLD], installed, tmp_path).splitlines()
    _, *found = lines(Path(path))
    told = [line.get("param") or line.get("metric") or line.get("outcome") or line for line in found]
    assert sorted(map(str, told)) == ["finished", "loss", "lr"]


def test_an_unknown_backend_is_named_with_it(installed: dict[str, str], tmp_path: Path) -> None:
    command = "import tracelet_otel\ntry: tracelet_otel.start_logging(backend='json')\nexcept Exception as e: print(e)"
    assert "did you mean 'jsonl'?" in ran([sys.executable, "-c", command], installed, tmp_path)


@pytest.mark.slow
def test_it_is_an_exporter_for_zero_code(installed: dict[str, str], tmp_path: Path) -> None:
    instrument = Path(sys.executable).with_name("opentelemetry-instrument")
    script = Path(__file__).parents[1] / "zero_code/scripts/train.py"
    settings = {"OTEL_METRICS_EXPORTER": "jsonl", "OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
    settings["TRACELET_TRACK_TIME"] = "false"
    paths = os.pathsep.join([installed["PYTHONPATH"], str(Path(__file__).parents[2])])
    ran([instrument, sys.executable, script], {**installed, **settings, "PYTHONPATH": paths}, tmp_path)
    (path,) = (tmp_path / "jsonl-runs").iterdir()
    wait_until(lambda: "outcome" in lines(path)[-1], 60, "the end of the run")
    logged = Counter(str(line["metric"]) for line in lines(path) if "metric" in line and not line["is_system"])
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert logged == Counter(name for values, *_ in rows for name in values)
