"""Child processes that need not import what is slow to import: see `warm_server.py` for how they come to be."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

from tests.support.services import launch
from tests.support.waiting import wait_until

RELAY = "tracelet_otel.relay"
NAMES = {RELAY: "tracelet-relay"}
"""Of forked processes, in place of a command line."""

FOR_TRAININGS = (
    "torch",
    "torch.utils.data",
    "torchmetrics",
    "lightning.pytorch",
    "lightning.pytorch.loggers",
    "pytorch_lightning",
    "mlflow",
    "mlflow.store.tracking.sqlalchemy_store",
    "alembic.command",
    "grpc",
    "psutil",
    "dulwich.repo",
    "pydantic_settings",
    "opentelemetry.sdk.metrics.export",
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.exporter.otlp.proto.grpc.metric_exporter",
    "opentelemetry.instrumentation.instrumentor",
    "opentelemetry.instrumentation.system_metrics",
    "opentelemetry.semconv._incubating.attributes.vcs_attributes",
)
"""What scripts of the tests need; nothing of ours."""
FOR_RELAYS = (
    "mlflow",
    "mlflow.store.tracking.sqlalchemy_store",
    "alembic.command",
    "wandb",
    "clearml",
    "uvicorn",
    "h11",
    "psutil",
    "pydantic_settings",
    "requests",
    "urllib3",
    "opentelemetry.sdk.metrics.export",
    "opentelemetry.sdk.resources",
    "opentelemetry.proto.collector.metrics.v1.metrics_service_pb2",
)
"""What relays need, and other processes in which trackers live; nothing of ours."""

_ROOT = Path(__file__).parents[2]
_START_S = 120


def start_server(home: Path, *modules: str) -> dict[str, Any]:
    """Start the server, and wait until it listens.

    Args:
        home: for its socket and its log.
        modules: that it imports.

    Returns:
        The path of its socket.
    """
    path = home / "socket"
    server = launch(home, [sys.executable, "-m", "tests.support.warm_server", str(path), *modules], cwd=_ROOT)
    wait_until(lambda: _listens(path) or server.poll() is not None, _START_S, "the warm server's start")
    assert server.poll() is None, (home / "log").read_text()
    return {"socket": str(path)}


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


class WarmProcess:
    """A child of a warm server, with what tests and our launcher use of `subprocess.Popen`.

    Args:
        server: path of the server's socket.
        arguments: as `python` has them: a script, `-m` and a module, or `-c` and a program, and their own arguments.
        stdin: `subprocess.PIPE`, a descriptor, a file, or None for that of this process; so are the others.
        cwd: its working directory; by default this process'.
        env: its environment; by default this process'.
        start_new_session: whether it gets a session of its own.
        text: whether its pipes are text.
        bufsize: 0 for pipes of bytes without a buffer, as `subprocess.Popen` has it.
        relays: path of the socket of the server that forks the relays that it starts; without one they are new
            interpreters.
        executable: what is `sys.executable` there; by default the server's.
    """

    def __init__(
        self,
        server: str,
        arguments: Sequence[str],
        *,
        stdin: Any = None,
        stdout: Any = None,
        stderr: Any = None,
        cwd: Any = None,
        env: Mapping[str, str] | None = None,
        start_new_session: bool = False,
        text: bool = False,
        bufsize: int = -1,
        relays: str = "",
        executable: str = "",
    ) -> None:
        self.args = list(arguments)
        self.returncode: int | None = None
        self._answer = b""
        self._lock = threading.Lock()
        ends: list[int] = []
        own: list[IO[Any] | None] = []
        for number, given in enumerate((stdin, stdout, stderr)):
            mine, theirs = _ends(number, given, bufsize, text=text)
            own.append(mine)
            ends.append(theirs)
        self.stdin, self.stdout, self.stderr = own
        request = {
            "arguments": self.args,
            "cwd": str(Path(cwd or ".").absolute()),
            "environment": dict(os.environ if env is None else env),
            "new_session": start_new_session,
            "name": NAMES.get(self.args[1] if self.args[0] == "-m" else "", "python"),
            "relays": relays,
            "executable": executable or sys.executable,
        }
        self._server = socket.socket(socket.AF_UNIX)
        self._server.connect(server)
        line = json.dumps(request).encode() + b"\n"
        sent = socket.send_fds(self._server, [line], ends)
        self._server.sendall(line[sent:])
        for descriptor in ends:
            os.close(descriptor)
        self._server.setblocking(True)
        self.pid = int(self._line(None))

    def poll(self) -> int | None:
        """Its exit code, negative by the signal that killed it; None as long as it runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        with self._lock:
            if self.returncode is None:
                self.returncode = int(self._line(timeout))
                self._server.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            # It may end right now.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[Any, Any]:
        """What is left of its output, once it has ended."""
        if self.stdin is not None and not self.stdin.closed:
            self.stdin.close()
        read: dict[IO[Any], Any] = {}

        def collect(stream: IO[Any]) -> None:
            read[stream] = stream.read()

        streams = [one for one in (self.stdout, self.stderr) if one is not None]
        readers = [threading.Thread(target=collect, args=(one,), daemon=True) for one in streams]
        for reader in readers:
            reader.start()
        self.wait(timeout)
        for reader in readers:
            reader.join()
        for stream in streams:
            stream.close()
        return tuple(read.get(one) for one in (self.stdout, self.stderr))  # type: ignore[arg-type, return-value]

    def __enter__(self) -> WarmProcess:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self.stdout, self.stderr, self.stdin):
            if stream is not None:
                stream.close()
        self.wait()

    def _line(self, timeout: float | None) -> bytes:
        deadline = None if timeout is None else time.monotonic() + timeout
        while b"\n" not in self._answer:
            if deadline is not None:
                # None would wait for ever, and 0 has to look once.
                self._server.settimeout(max(deadline - time.monotonic(), 0))
            try:
                part = self._server.recv(64)
            except (BlockingIOError, TimeoutError):
                raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
            finally:
                self._server.setblocking(True)
            assert part, "the warm server has ended"
            self._answer += part
        line, _, self._answer = self._answer.partition(b"\n")
        return line


Child = WarmProcess | subprocess.Popen[str]


def start_child(server: str | None, arguments: Sequence[str], *, relays: str = "", **options: Any) -> Child:
    """Start a script, whose streams are text.

    Args:
        server: path of the socket of the warm server that it comes from; None for a new interpreter.
        arguments: the script and its own arguments.
        relays: as `WarmProcess` has it; a new interpreter starts new ones.
        options: of `subprocess.Popen`.
    """
    if server is None:
        return subprocess.Popen([sys.executable, *arguments], text=True, **options)
    return WarmProcess(server, arguments, relays=relays, text=True, **options)


def _ends(number: int, given: Any, bufsize: int, *, text: bool) -> tuple[IO[Any] | None, int]:
    """This process' end of a standard stream, if it has one, and the child's."""
    if given is None:
        return None, os.dup(number)
    if given == subprocess.DEVNULL:
        return None, os.open(os.devnull, os.O_RDWR)
    if given != subprocess.PIPE:
        return None, os.dup(given if isinstance(given, int) else given.fileno())
    reading, writing = os.pipe()
    theirs, mine = (reading, writing) if number == 0 else (writing, reading)
    mode = "w" if number == 0 else "r"
    return (os.fdopen(mine, mode) if text else os.fdopen(mine, f"{mode}b", buffering=bufsize)), theirs


def fork_relays(server: Callable[[], str]) -> Callable[[], None]:
    """Have the processes in which we keep trackers forked by a warm server, so that they need not import everything.

    Args:
        server: gives the path of the server's socket when such a process is started from this one.

    Returns:
        What undoes it.
    """
    from tests.support import tracker_process as apart
    from tracelet_otel.session import ahead

    def popen(command: Sequence[str], **options: Any) -> WarmProcess:
        assert command[0] == sys.executable
        return WarmProcess(server(), command[1:], **options)

    launchers: tuple[Any, ...] = (apart, ahead)
    for module in launchers:
        module.subprocess = SimpleNamespace(**{**vars(subprocess), "Popen": popen})

    def undo() -> None:
        for module in launchers:
            module.subprocess = subprocess

    return undo
