"""Trainings in processes of their own, in a directory without a history."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]


def start(home: Path, settings: Mapping[str, str], name: str, *options: object) -> subprocess.Popen[bytes]:
    """Start a training.

    Args:
        home: an empty directory, of which nothing is seen in the record.
        settings: variables of its environment.
        name: of the run.
        options: see `pictures/training.py`.
    """
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "pictures" / "training.py", home / "train.py")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("TRACELET_", "OTEL_", "MLFLOW_"))}
    environment = {
        **kept,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "examples"), str(ROOT / "src")]),
        "HOME": str(home),
        # Who has trained is on the page.
        "LOGNAME": "ada",
        "TRACELET_METRICS_INTERVAL": "2",
        **settings,
    }
    command = [sys.executable, "train.py", name, *map(str, options)]
    with (home / "training.log").open("wb") as log:
        return subprocess.Popen(command, cwd=home, env=environment, stdout=log, stderr=log)


def end(home: Path, process: subprocess.Popen[bytes], longest_s: float = 400) -> None:
    """Wait until a training has ended well.

    Raises:
        RuntimeError: it has failed; its output is the message.
    """
    if process.wait(longest_s):
        raise RuntimeError((home / "training.log").read_text())
