"""A tracker in a process of its own, as a relay is one: W&B's client would change the process that runs the tests.

`python -m tests.support.tracker_process` is the other end: calls and answers go over its standard input and output.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tracelet_otel._support.child_environment import child_environment
from tracelet_otel._support.environment import environment
from tracelet_otel.errors import TrackerUnavailableError
from tracelet_otel.exporters.base import RunLocation
from tracelet_otel.exporters.files import TakesFiles
from tracelet_otel.exporters.registry import delivering_environment
from tracelet_otel.protocol.decode import Param, Reading
from tracelet_otel.protocol.files import RunFile
from tracelet_otel.protocol.run_identity import RunIdentity
from tracelet_otel.settings import Settings


class TrackerProcess:
    """A `Tracker` whose calls are done by another process; it is started again where it dies, as a relay is.

    Args:
        backend: whose tracker that process makes.
        settings: what it makes it with.
    """

    batch_size = 5000

    def __init__(self, backend: str, settings: Settings) -> None:
        self.name = backend
        self._settings = settings
        self.process: subprocess.Popen[bytes] | None = None
        self._run: RunIdentity | None = None
        self._params: dict[str, Param] = {}
        self._tags: dict[str, str] = {}

    def open(self, run: RunIdentity) -> RunLocation:
        self._run = run
        self.end()
        return self._begin()

    def refusals(self, readings: Sequence[Reading]) -> Mapping[int, str]:
        return {}

    def log_readings(self, readings: Sequence[Reading]) -> None:
        self._call("log_readings", readings)

    def log_params(self, params: Mapping[str, Param]) -> None:
        self._call("log_params", params)
        self._params.update(params)

    def set_tags(self, tags: Mapping[str, str]) -> Mapping[str, str]:
        changed: Mapping[str, str] = self._call("set_tags", tags)
        self._tags.update(tags)
        return changed

    def close(self, outcome: str | None, end_unix_nano: int | None = None) -> None:
        self._call("close", outcome, end_unix_nano)
        self.end()

    def file_writer(self) -> FileWriterProcess:
        return FileWriterProcess(self._call)

    def end(self) -> None:
        """End the process; a run that is open there is closed as killed."""
        process, self.process = self.process, None
        if process is not None:
            assert process.stdin is not None
            assert process.stdout is not None
            with contextlib.suppress(OSError):
                process.stdin.close()
            process.stdout.close()
            process.wait(30)

    def _call(self, method: str, *arguments: Any) -> Any:
        if self.process is None:
            self._begin()
        return self._ask(method, *arguments)

    def _begin(self) -> RunLocation:
        try:
            self._start()
            location: RunLocation = self._ask("open", self._run)
            if self._params:
                self._ask("log_params", self._params)
            if self._tags:
                self._ask("set_tags", self._tags)
        except BaseException:
            self.end()
            raise
        return location

    def _ask(self, method: str, *arguments: Any) -> Any:
        assert self.process is not None
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            _write(self.process.stdin, (method, arguments))
            works, answer = pickle.load(self.process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            self.end()
            raise TrackerUnavailableError(f"the process of {self.name} has died ({type(error).__name__})") from None
        if not works:
            raise answer
        return answer

    def _start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.tracker_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=child_environment(environment(), sys.path, *delivering_environment()),
            start_new_session=True,
        )
        self._ask(self.name, self._settings)


class FileWriterProcess:
    """The `FileWriter` of the tracker in that process."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def open(self, run: RunIdentity) -> None:
        self._call("files.open", run)

    def write(self, file: RunFile, content: Path | None) -> None:
        self._call("files.write", file, content)


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
    backend, (settings,) = pickle.load(calls)
    tracker = make(backend, settings)
    writer = tracker.file_writer() if isinstance(tracker, TakesFiles) else None
    _write(answers, (True, None))
    is_open = False
    while True:
        try:
            method, arguments = pickle.load(calls)
        except EOFError:
            break
        try:
            called = writer if method.startswith("files.") else tracker
            answer = (True, getattr(called, method.removeprefix("files."))(*arguments))
            is_open = method != "close"
        except Exception as error:
            answer = (False, error)
        with contextlib.suppress(BrokenPipeError):
            _write(answers, answer)
    if is_open:
        tracker.close(None)


if __name__ == "__main__":
    main()
