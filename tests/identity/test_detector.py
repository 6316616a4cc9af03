"""The detector under the real SDK, in a process of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.identity.checkouts import checkout, git, revision
from tests.support.mlflow_store import stored_run
from tracelet_otel.resource.detector import TraceletResourceDetector

ASKED = {"OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "tracelet"}
SCRIPTS = Path(__file__).with_name("scripts")
ALWAYS = {"host.name", "host.arch", "os.type", "os.version", "process.command", "process.owner"} | {
    "process.runtime.name",
    "process.runtime.version",
    "tracelet.torch.version",
    "tracelet.lightning.version",
}
SDK = {"telemetry.sdk.language", "telemetry.sdk.name", "telemetry.sdk.version", "service.instance.id", "service.name"}
pytestmark = pytest.mark.whole
OF_MACHINE = (
    "host.cpu.model.name",
    "tracelet.host.cpu.count",
    "tracelet.host.cpu.logical_count",
    "tracelet.host.memory.size",
    "tracelet.gpu.driver_version",
    "tracelet.gpu.models",
    "tracelet.cuda.version",
)


@pytest.fixture
def detected(tmp_path: Path, run: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    """What the SDK takes up in a script; the rest, which is that of all scripts, is checked."""
    script = shutil.copy(SCRIPTS / "describe.py", tmp_path / "script.py")

    def detected(**environment: str) -> dict[str, Any]:
        child = run(script, f"--key={'sEcReT'}", **ASKED, **environment)
        assert (child.returncode, child.stderr) == (0, "")
        found, heavy = json.loads(child.stdout)
        assert heavy == []
        assert "sEcReT" not in str(found)
        assert {name for name in found if name in ALWAYS | SDK} == ALWAYS | SDK
        assert found["process.command"] == str(tmp_path / "script.py")
        if found["tracelet.run.id"] != environment.get("TRACELET_RUN_ID"):
            run_id = found.pop("tracelet.run.id")
            assert re.fullmatch("[0-9a-f]{32}", run_id)
            if "TRACELET_EXP_NAME" not in environment:
                assert found.pop("tracelet.run.name") == f"script-{run_id[:8]}"
        return {
            name: value for name, value in found.items() if name not in {*ALWAYS, *SDK - {"service.name"}, *OF_MACHINE}
        }

    return detected


@pytest.mark.cold
def test_a_script_that_says_nothing_of_its_run(tmp_path, detected):
    code = checkout(tmp_path)
    git(code, "remote", "add", "origin", "https://ada:sEcReT@git.local/org/repo.git")
    assert detected() == {
        "mine": "yes",
        "service.name": "unknown_service:python",
        "vcs.repository.url.full": "https://git.local/org/repo",
        "vcs.ref.head.revision": revision(code),
        "vcs.ref.head.name": "main",
        "vcs.ref.head.type": "branch",
        "tracelet.vcs.dirty": False,
    }


@pytest.mark.cold
def test_a_rank_of_a_run_that_the_environment_names(tmp_path, detected):
    checkout(tmp_path)
    found = detected(
        TRACELET_RUN_ID="run-7",
        TRACELET_EXP_NAME="größe",
        TRACELET_PROJECT="digits",
        TRACELET_TRACK_GIT="False",
        TRACELET_API_KEY="sEcReT",
        RANK="3",
        LOCAL_RANK="1",
        GROUP_RANK="1",
        WORLD_SIZE="4",
        TORCHELASTIC_RUN_ID="job",
        SLURM_JOB_ID="7",
    )
    assert found == {
        "mine": "yes",
        "service.name": "digits",
        "tracelet.run.id": "run-7",
        "tracelet.run.name": "größe",
        "tracelet.project.name": "digits",
        "tracelet.rank": 3,
        "tracelet.local_rank": 1,
        "tracelet.node_rank": 1,
        "tracelet.torchrun.run.id": "job",
        "tracelet.slurm.job.id": "7",
    }


@pytest.mark.cold
def test_what_the_environment_says_of_the_resource_counts_more(detected):
    assert detected(
        TRACELET_PROJECT="digits", OTEL_SERVICE_NAME="mine", OTEL_RESOURCE_ATTRIBUTES="tracelet.project.name=other"
    ) == {"mine": "yes", "service.name": "mine", "tracelet.project.name": "other"}


@pytest.mark.cold
def test_it_works_before_the_script_has_begun(tmp_path):
    """As under `opentelemetry-instrument`: from `sitecustomize`."""
    code = checkout(tmp_path / "code")
    (tmp_path / "site").mkdir()
    shutil.copy(SCRIPTS / "describe.py", tmp_path / "site" / "sitecustomize.py")
    environment = {**os.environ, **ASKED, "PYTHONPATH": str(tmp_path / "site")}
    command = [sys.executable, "code/train.py"]
    child = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    found, heavy = json.loads(child.stdout.splitlines()[0])
    assert (found["process.command"], found["vcs.ref.head.revision"]) == ("code/train.py", revision(code))
    assert (heavy, child.stderr) == ([], "")


@pytest.mark.parametrize(
    ("name", "message"),
    [("run_id:with/signs", "TRACELET_RUN_ID is not heeded: it is not of the form of a run's id")],
)
def test_an_id_that_is_none_is_not_taken_and_said(monkeypatch, caplog, name, message):
    monkeypatch.setenv("TRACELET_RUN_ID", name)
    found = TraceletResourceDetector().detect().attributes
    assert re.fullmatch("[0-9a-f]{32}", found["tracelet.run.id"])
    assert "host.name" in found
    assert [message in record.getMessage() for record in caplog.records] == [True]


def test_it_never_raises(monkeypatch, caplog):
    def fail(*arguments):
        raise RuntimeError("broken")

    monkeypatch.setattr("tracelet_otel.resource.process.rank_info_of", fail)
    assert dict(TraceletResourceDetector(raise_on_error=True).detect().attributes) == {}
    assert len(caplog.records) == 1


def test_a_run_that_a_script_starts_under_it_is_the_scripts(tmp_path, run, database):
    code = checkout(tmp_path)
    script = shutil.copy(SCRIPTS / "record.py", tmp_path / "script.py")
    environment = {"TRACELET_EXP_NAME": "not this", "TRACELET_PROJECT": "nor this", "RANK": "0", "WORLD_SIZE": "1"}
    child = run(script, **ASKED, **environment)
    assert (child.returncode, child.stderr) == (0, "")
    stored = stored_run(database)
    assert (stored.name, stored.experiment) == ("mine", "my project")
    expected = {
        "tracelet.run.id": child.stdout.strip(),
        "tracelet.run.name": "mine",
        "tracelet.project.name": "my project",
        "service.name": "my project",
        "mlflow.source.name": str(tmp_path / "script.py"),
        "mlflow.source.git.commit": revision(code),
        "mlflow.source.git.branch": "main",
        "tracelet.vcs.dirty": "False",
    }
    assert {name: stored.tags.get(name) or stored.resource.get(name) for name in expected} == expected
    assert "tracelet.rank" not in stored.resource
