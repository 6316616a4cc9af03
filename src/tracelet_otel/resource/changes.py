"""Whether tracked files differ from the revision, according to `git status`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from typing import Final

_STATUS: Final = (
    # git must not write the index, nor start a program that watches files.
    "--no-optional-locks",
    "-c",
    "core.fsmonitor=false",
    "status",
    "--porcelain",
    "--branch",
    "--untracked-files=no",
)
_BRANCH_LINE: Final = b"## "
"""How the first line of git's answer begins. It names the branch, and is there whether or not files have changed."""


def is_changed(root: str, environment: Mapping[str, str], patience_s: float) -> bool | None:
    """Whether any tracked file differs, in the index or in the working tree.

    Args:
        root: directory of the working tree.
        environment: environment variables of this process.
        patience_s: seconds after which git is killed.

    Returns:
        None where it is not known: git is not installed, refuses to answer, or takes too long.
    """
    program = shutil.which("git")
    if program is None:
        return None
    # Inside a git hook, `GIT_*` variables name another repository.
    clean = {name: value for name, value in environment.items() if not name.startswith("GIT_")}
    try:
        git = subprocess.Popen(  # noqa: S603  # git itself, with arguments of ours
            [program, "-C", root, *_STATUS],
            env=clean,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Ctrl-C is meant for the training, and must not reach git.
            start_new_session=True,
        )
    except OSError:
        return None
    with git:
        try:
            answer, _ = git.communicate(timeout=patience_s)
        except subprocess.TimeoutExpired:
            # Kill what git has started too, such as a filter: it would keep git's output open.
            if hasattr(os, "killpg"):
                os.killpg(git.pid, signal.SIGKILL)
            git.kill()
            return None
    # The exit code is not used: it is lost where this process ignores SIGCHLD.
    return len(answer.splitlines()) > 1 if answer.startswith(_BRANCH_LINE) else None
