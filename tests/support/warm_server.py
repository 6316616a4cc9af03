"""A process that has imported what is slow to import, and becomes a script for whoever asks.

Run as `python -m tests.support.warm_server SOCKET MODULE ...`, with the modules that it imports.

Torch, Lightning and MLflow take seconds to import, and most child processes of the tests are about what happens
afterwards. This process imports them once and forks a child for each request: a script, a module or a string, as
`python` takes them. The child is a Python process like any other. It has its own pid, descriptors, environment,
working directory and arguments, and it ends as an interpreter ends.

A request is one line of JSON, with the child's standard input, output and error beside it as file descriptors. The
answer is the child's pid on a line, and once it has ended its exit status on another.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import random
import runpy
import selectors
import signal
import socket
import sys
import threading
import types
import warnings
from pathlib import Path
from typing import Any

from tests.support.warm import fork_relays

Request = dict[str, Any]


class Server:
    """Forks a child for each request.

    Args:
        path: of the socket at which it listens.
    """

    def __init__(self, path: str) -> None:
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(64)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._request: Request | None = None

    def serve(self) -> Request:
        """Answer for ever.

        Returns:
            In a child what it has to do; in the server itself, never.
        """
        while True:
            for key, _ in self._selector.select():
                key.data(key.fileobj)
                if self._request is not None:
                    return self._request

    def _accept(self, _: Any) -> None:
        connection, _ = self._listener.accept()
        self._selector.register(connection, selectors.EVENT_READ, self._start)

    def _start(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        line, descriptors, _, _ = socket.recv_fds(connection, 2**20, 3)
        while line and not line.endswith(b"\n"):
            line += connection.recv(2**20)
        if not line:
            connection.close()
            return
        pid = os.fork()
        if pid == 0:
            self._become(json.loads(line), descriptors)
            return
        for descriptor in descriptors:
            os.close(descriptor)
        connection.sendall(f"{pid}\n".encode())
        ended = os.pidfd_open(pid)
        self._selector.register(ended, selectors.EVENT_READ, lambda _: self._reap(pid, ended, connection))

    def _reap(self, pid: int, ended: int, connection: socket.socket) -> None:
        self._selector.unregister(ended)
        os.close(ended)
        _, status = os.waitpid(pid, 0)
        with contextlib.suppress(BrokenPipeError):  # nobody waits for it
            connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
        connection.close()

    def _become(self, request: Request, descriptors: list[int]) -> None:
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.detach()
        self._selector.close()
        for target, descriptor in enumerate(descriptors):
            os.dup2(descriptor, target)
        os.closerange(3, max(descriptors) + 64)
        if request["new_session"]:
            os.setsid()
        self._request = request


def run(request: Request) -> None:
    """Do as `python` does with these arguments."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Children of one server would all draw the same.
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    Path("/proc/self/comm").write_text(request["name"])
    sys.executable = request["executable"]
    kind, *arguments = request["arguments"]
    own = [path for path in request["environment"].get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:1] = own
    if request["relays"]:
        fork_relays(lambda: request["relays"])
    if kind == "-m":
        sys.argv = arguments
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
        return
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = __builtins__
    if kind == "-c":
        sys.argv = ["-c", *arguments[1:]]
        sys.path.insert(0, "")
        code = compile(arguments[0], "<string>", "exec")
    else:
        sys.argv = [kind, *arguments]
        main.__file__ = kind
        sys.path.insert(0, str(Path(kind).absolute().parent))
        code = compile(Path(kind).read_bytes(), kind, "exec")
    exec(code, main.__dict__)


def run_to_its_end(request: Request) -> None:
    """Do it, and end as the interpreter ends, but for the freeing of its memory: after so many imports that takes long.

    What nobody catches goes on to the top of the main module, as always.
    """
    status = 0
    try:
        run(request)
    except SystemExit as ended:
        if not isinstance(ended.code, int | None):
            raise
        status = ended.code or 0
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads that are no daemons
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError, OSError):  # closed, or nobody reads it
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in sys.argv[2:]:
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
    run_to_its_end(Server(sys.argv[1]).serve())
