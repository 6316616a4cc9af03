"""What is started once for all processes of a test run, with the first test that needs it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from filelock import FileLock

_VARIABLE: Final = "SHARED_SERVICES"
"""Names the directory of a test run; xdist's workers inherit it."""


def begin() -> bool:
    """Prepare a run of tests.

    Returns:
        Whether this process is the one that has to call `end`.
    """
    if _VARIABLE in os.environ:
        return False
    # Not below pytest's own directory: the path of a socket may have 107 characters only.
    os.environ[_VARIABLE] = tempfile.mkdtemp(prefix="tests-")
    return True


_started: Final[list[subprocess.Popen[bytes]]] = []


def shared(name: str, start: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """What a service has said of itself when it was started, by whichever process came first.

    Args:
        name: of the service.
        start: gets a directory of the service's own and returns facts that are JSON.
    """
    home = Path(os.environ[_VARIABLE], name)
    home.mkdir(exist_ok=True)
    facts = home / "service.json"
    with FileLock(home / "lock"):
        if not facts.exists():
            facts.write_text(json.dumps(start(home)))
    found: dict[str, Any] = json.loads(facts.read_text())
    return found


def launch(home: Path, command: list[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start the process of a service; it ends with the run of the tests.

    Args:
        home: the service's directory, for the log.
        command: program and arguments.
        options: of `subprocess.Popen`.
    """
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **options
        )
    (home / "pid").write_text(str(process.pid))
    _started.append(process)  # one that nobody refers to is taken for forgotten
    return process


def end() -> None:
    """End all services, and forget them."""
    directory = Path(os.environ.pop(_VARIABLE))
    for pid in directory.glob("*/pid"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int(pid.read_text()), signal.SIGTERM)
    shutil.rmtree(directory, ignore_errors=True)
