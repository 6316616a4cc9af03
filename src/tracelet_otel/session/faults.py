"""Has this process leave its stack in a file when a fatal signal ends it: the relay tells it as the run's failure."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
import weakref
from pathlib import Path
from typing import Final

from tracelet_otel._support.processes import started
from tracelet_otel.protocol.fault_files import fault_file
from tracelet_otel.session.role import Role
from tracelet_otel.settings import Settings

_SIGNALS: Final = ("SIGSEGV", "SIGFPE", "SIGABRT", "SIGBUS", "SIGILL")
"""The signals that `faulthandler` handles. Source: Python's documentation of `faulthandler.enable`."""
_SIZE_BYTES: Final = 512
"""More than a `struct sigaction` has on any system."""

_active: FaultFile | None = None
"""The one of this process, for its forked children."""


def fault_file_of(settings: Settings, role: Role) -> FaultFile | None:
    """Make the file of this process; None where no relay of this machine would read it.

    Args:
        settings: settings of the run.
        role: role of this process in the run; it is open.

    Raises:
        OSError: the file cannot be made.
    """
    rank_info = role.membership.rank_info
    is_near = role.owns_run or not (rank_info and rank_info.is_on_another_node)
    is_told = role.owns_run or (settings.relay and bool(role.exporters))
    if settings.trackers and settings.relay_endpoint is None and is_near and is_told:
        return FaultFile(settings.journal_dir)
    return None


class FaultFile:
    """The file of this process, while its run goes on. `faulthandler` writes the stack of each thread into it.

    A process has one `faulthandler`. It is left alone where the user has enabled it, and where anybody handles one of
    its signals. Where somebody does so later, it stays as that one wants it.

    Args:
        directory: the directory of the journals.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, directory: Path) -> None:
        self._pid = os.getpid()
        self._path = fault_file(directory, self._pid, started(self._pid))
        self._handlers: list[int] | None = None
        self._output: weakref.ref[_Output] | None = None
        if not faulthandler.is_enabled() and _handlers() == [0] * len(_SIGNALS):
            self._enable()

    def _enable(self) -> None:
        global _active
        output = _Output(self._path)
        # Only `faulthandler` holds it: where somebody enables or disables that anew, it is freed, and we know.
        self._output = weakref.ref(output)
        faulthandler.enable(output)
        self._handlers = _handlers()
        _active = self

    def close(self) -> None:
        """Put back what was before, and delete the file. In a forked child it does nothing."""
        global _active
        if os.getpid() == self._pid and self._output is not None:
            self._put_back()
            self._path.unlink(missing_ok=True)
            self._output = _active = None

    def leave_to_parent(self) -> None:
        """Put back in a forked child what was before: its stack is not its parent's."""
        self._put_back()
        self._output = None

    def _put_back(self) -> None:
        # Disabling sets the signals to what they did before. That would undo what somebody else has set meanwhile.
        if self._output is not None and self._output() is not None and _handlers() == self._handlers:
            faulthandler.disable()


class _Output:
    """An open file as `faulthandler` takes it. It is closed when it is freed."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        weakref.finalize(self, os.close, self._descriptor).atexit = False

    def fileno(self) -> int:
        """Its descriptor."""
        return self._descriptor

    def flush(self) -> None:
        """Do nothing: nothing is buffered."""


def _handlers() -> list[int] | None:
    """Addresses of the functions that handle these signals, 0 for what the system does; None where nothing tells them.

    Handlers of libraries are none of Python's, so `signal.getsignal` does not know them. Source: sigaction(2); the
    handler is the structure's first member.
    """
    if sys.platform == "win32":
        return None
    library = ctypes.CDLL(None)
    found = []
    for name in _SIGNALS:
        action = ctypes.create_string_buffer(_SIZE_BYTES)
        if library.sigaction(int(getattr(signal, name)), None, action):
            return None
        found.append(ctypes.c_void_p.from_buffer(action).value or 0)
    return found


def _leave_to_parent() -> None:
    global _active
    if _active is not None:
        _active.leave_to_parent()
        _active = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)
