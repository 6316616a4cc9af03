"""A tracker in a process of its own: for a client that does to its process what none but ours should suffer.

Where there is a relay, that is such a process already. `python -m tracelet_otel.exporters.worker_process` is the other
end: calls and answers go over its standard input and output, pickled, as they never leave the machine.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import IO, Any, Final

from tracelet_otel._support.child_environment import child_environment
from tracelet_otel._support.environment import environment
from tracelet_otel.errors import TrackerUnavailableError
from tracelet_otel.exporters.base import RunLocation
from tracelet_otel.protocol.decode import Param, Reading
from tracelet_otel.protocol.run_identity import RunIdentity
from tracelet_otel.settings import Settings

_BATCH_SIZE: Final = 5000
_LET_GO_S: Final = 5.0

_started: weakref.WeakSet[WorkerProcessTracker] = weakref.WeakSet()


class WorkerProcessTracker:
    """A `Tracker` whose calls are done by another process; it is started again where it dies.

    Args:
        backend: whose tracker that process makes.
        settings: what it makes it with.
    """

    batch_size = _BATCH_SIZE

    def __init__(self, backend: str, settings: Settings) -> None:
        self.name = backend
        """See `Tracker.name`."""
        # There the client is at home, and whoever closes the run waits for so long.
        self._settings = settings.model_copy(update={"relay": True, "relay_patience": settings.stop_timeout})
        self._process: subprocess.Popen[bytes] | None = None
        self._unless_ended: weakref.finalize[..., Any] | None = None
        self._run: RunIdentity | None = None
        self._params: dict[str, Param] = {}

    def open(self, run: RunIdentity) -> RunLocation:
        """See `Tracker.open`."""
        self._run = run
        self._end()
        return self._begin()

    def refusals(self, readings: Sequence[Reading]) -> Mapping[int, str]:
        """See `Tracker.refusals`; those the other process knows."""
        return {}

    def log_readings(self, readings: Sequence[Reading]) -> None:
        """See `Tracker.log_readings`."""
        self._call("log_readings", readings)

    def log_params(self, params: Mapping[str, Param]) -> None:
        """See `Tracker.log_params`."""
        self._call("log_params", params)
        self._params.update(params)

    def close(self, outcome: str | None, end_unix_nano: int | None = None) -> None:
        """See `Tracker.close`."""
        self._call("close", outcome, end_unix_nano)
        self._end()

    def _call(self, method: str, *arguments: Any) -> Any:
        if self._process is None:
            self._begin()
        return self._ask(method, *arguments)

    def _begin(self) -> RunLocation:
        """Start the process, and bring it to where an earlier one was; all of it or nothing."""
        try:
            self._start()
            location: RunLocation = self._ask("open", self._run)
            if self._params:
                self._ask("log_params", self._params)
        except BaseException:
            self._end()
            raise
        return location

    def _ask(self, method: str, *arguments: Any) -> Any:
        assert self._process is not None  # noqa: S101
        assert self._process.stdin is not None  # noqa: S101
        assert self._process.stdout is not None  # noqa: S101
        try:
            _write(self._process.stdin, (method, arguments))
            works, answer = pickle.load(self._process.stdout)  # noqa: S301  # our own process wrote it
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            self._end()
            raise TrackerUnavailableError(f"the process of {self.name} has died ({type(error).__name__})") from None
        if not works:
            raise answer
        return answer

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tracelet_otel.exporters.worker_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=child_environment(environment(), sys.path),
            # Ctrl-C is for the training; what it leaves is delivered.
            start_new_session=True,
        )
        # Where nobody closes the tracker; at exit the pipes close by themselves.
        self._unless_ended = weakref.finalize(self, _let_go, self._process, 0.0)
        self._unless_ended.atexit = False
        _started.add(self)
        self._ask(self.name, self._settings)

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None and self._unless_ended is not None and self._unless_ended.detach():
            _let_go(process, _LET_GO_S)

    def _let_go_in_child(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            # The lock of the buffer may be held by a thread that is not here; what is in it is the parent's to write.
            self._process.stdin.raw.close()  # type: ignore[attr-defined]


def _let_go(process: subprocess.Popen[bytes], patience_s: float) -> None:
    """End a process by ending its input: without a call to come, it closes its run and stops."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(RuntimeError):  # at exit some interpreters start no more threads
            threading.Thread(target=process.wait, name="tracelet-reaper", daemon=True).start()


def _let_go_in_child() -> None:
    # A forked child that held the pipe would keep the process from noticing the training's end.
    for tracker in _started:
        tracker._let_go_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)


def _write(pipe: IO[bytes], message: Any) -> None:
    pipe.write(pickle.dumps(message))
    pipe.flush()


def main() -> None:
    """Answer calls until there are no more; a run that was not closed then is closed as killed."""
    from tracelet_otel.exporters.registry import tracker as make

    # What the client prints goes where errors go.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    calls = sys.stdin.buffer
    backend, (settings,) = pickle.load(calls)  # noqa: S301  # the process that started this one wrote it
    tracker = make(backend, settings)
    _write(answers, (True, None))
    is_open = False
    while True:
        try:
            method, arguments = pickle.load(calls)  # noqa: S301
        except EOFError:
            break
        try:
            answer = (True, getattr(tracker, method)(*arguments))
            is_open = method != "close"
        except Exception as error:
            answer = (False, error)
        with contextlib.suppress(BrokenPipeError):
            _write(answers, answer)
    if is_open:
        tracker.close(None)


if __name__ == "__main__":
    main()
