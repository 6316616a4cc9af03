"""Whether tracked files differ from the revision: git is asked, where there is one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from typing import Final

_STATUS: Final = (
    # It must not write the index, nor start a program that watches files.
    "--no-optional-locks",
    "-c",
    "core.fsmonitor=false",
    "status",
    "--porcelain",
    "--branch",
    "--untracked-files=no",
)
_FIRST_LINE: Final = b"## "
"""Of its answer, whatever it finds: the branch."""


def is_changed(root: str, environment: Mapping[str, str], patience_s: float) -> bool | None:
    """Whether any tracked file differs, in the index or in the working tree.

    Args:
        root: of the working tree.
        environment: of this process.
        patience_s: git is ended where it takes longer.

    Returns:
        None where it is not known: there is no git, it refuses, or it takes too long.
    """
    program = shutil.which("git")
    if program is None:
        return None
    # In a hook of git's, variables name another repository.
    clean = {name: value for name, value in environment.items() if not name.startswith("GIT_")}
    try:
        git = subprocess.Popen(  # noqa: S603  # git itself, with arguments of ours
            [program, "-C", root, *_STATUS],
            env=clean,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Ctrl-C is for the training.
            start_new_session=True,
        )
    except OSError:
        return None
    with git:
        try:
            answer, _ = git.communicate(timeout=patience_s)
        except subprocess.TimeoutExpired:
            # With what it has started, as a filter: that would keep its output open.
            if hasattr(os, "killpg"):
                os.killpg(git.pid, signal.SIGKILL)
            git.kill()
            return None
    # Its exit code may have gone to somebody else, who ignores SIGCHLD.
    return len(answer.splitlines()) > 1 if answer.startswith(_FIRST_LINE) else None
