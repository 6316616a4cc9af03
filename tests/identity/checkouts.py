"""Real repositories, made by git."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

FILE = "train.py"
_ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    **{f"GIT_{who}_{what}": "ada@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}


def git(directory: Path, *arguments: str) -> str:
    """What git says."""
    command = ["git", "-C", str(directory), "-c", "protocol.file.allow=always", *arguments]
    environment = {**os.environ, **_ENVIRONMENT}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def checkout(directory: Path, *, commits: int = 1) -> Path:
    """A repository on the branch `main`."""
    directory.mkdir(parents=True, exist_ok=True)
    git(directory, "init", "-q", "-b", "main")
    (directory / FILE).write_text("print(1)\n")
    (directory / "package").mkdir()
    (directory / "package" / "model.py").write_text("LAYERS = 3\n")
    git(directory, "add", ".")
    for number in range(commits):
        git(directory, "commit", "-q", "--allow-empty", "-m", str(number))
    return directory


def revision(directory: Path) -> str:
    return git(directory, "rev-parse", "HEAD")
