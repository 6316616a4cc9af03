"""Starts the console process (`tracelet_otel.console`), in a session of its own: Ctrl-C is for the training alone."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from tracelet_otel._support.child_environment import child_environment
from tracelet_otel._support.environment import environment, set_console_process


class LaunchedConsole:
    """A console process that this process has started. Ranks that it starts find it in the environment.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self) -> None:
        self._directory = tempfile.mkdtemp(prefix="tracelet-")
        path = str(Path(self._directory, "console"))
        self.connection, there = socket.socketpair()
        """Leads to it."""
        with there:
            self._process = subprocess.Popen(  # noqa: S603  # a path of our own
                [sys.executable, "-m", "tracelet_otel.console", path],
                stdin=there.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=child_environment(environment(), sys.path, {}, ()),
                start_new_session=True,
            )
        set_console_process(path)

    def hide(self) -> None:
        """Let ranks not find it any more."""
        set_console_process(None)

    def wait(self) -> None:
        """Wait for its end: what this process has started may print for longer."""
        self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    def kill(self) -> None:
        """End it, where it could not begin."""
        self.hide()
        self._process.kill()
        self.wait()
