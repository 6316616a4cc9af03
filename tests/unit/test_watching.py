"""A process that a recorded one has started waits for Lightning, at little cost and at no risk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tracelet_otel._support import watching
from tracelet_otel._support.private_names import LIGHTNING

RECORDED = {"TRACELET_RECORDER": "1:job.1.0"}
"""As a process has it whose ancestor has a run."""


def python(code: str, *, first: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run code in a process that a recorded one has started, with a directory in which modules are looked for first."""
    paths = [*([str(first)] if first else []), *sys.path]
    environment = {**os.environ, **RECORDED, "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_names_of_lightning_are_those_of_its_packages():
    assert set(watching.LIGHTNING) == {package.partition(".")[0] for package in LIGHTNING.packages}


def test_a_process_that_does_not_import_lightning_imports_nothing_for_us():
    child = python("import json, sys, tracelet_otel; print(json.dumps(sorted(sys.modules)))")
    assert child.returncode == 0, child.stderr
    loaded = json.loads(child.stdout)
    assert "tracelet_otel._support.watching" in loaded
    heavy = {"wrapt", "asyncio", "logging", "inspect", "importlib.metadata", "opentelemetry", "urllib3", "pydantic"}
    assert heavy.isdisjoint(loaded)


def test_what_we_cannot_import_does_not_reach_the_import_of_lightning(tmp_path: Path):
    (tmp_path / "pytorch_lightning.py").touch()
    (tmp_path / "urllib3.py").write_text("raise RuntimeError('broken')")
    child = python("import tracelet_otel, pytorch_lightning; print('imported')", first=tmp_path)
    assert (child.returncode, child.stdout) == (0, "imported\n"), child.stderr
    assert "what this process trains is not recorded: broken" in child.stderr


def test_an_absent_lightning_is_absent():
    code = """
import sys, tracelet_otel
sys.path[:] = [path for path in sys.path if "-packages" not in path]
try:
    import lightning
except ImportError as error:
    print(error)
"""
    child = python(code)
    assert child.stdout == "No module named 'lightning'\n", child.stderr
