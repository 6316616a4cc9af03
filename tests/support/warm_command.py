"""`warm_command.py SOCKET RELAYS PYTHON ARGUMENT ...` is `python ARGUMENT ...` in a process of a warm server.

Under the name `python` on PATH it is for scripts that a shell starts: they need not import what takes seconds, and
neither do the ranks that they start as `sys.executable`, which is PYTHON there.
"""

import os
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.support.warm import WarmProcess  # noqa: E402

INSTRUMENTED = Path(__file__).with_name("instrumented.py")
INSTRUMENTS = "/opentelemetry/instrumentation/auto_instrumentation"
"""The end of a path at which an interpreter finds what `opentelemetry-instrument` has it begin with."""


def main() -> int:
    socket, relays, python, *arguments = sys.argv[1:]
    if arguments[0] == "-u":  # as torchrun has it
        del arguments[0]
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if any(path.endswith(INSTRUMENTS) for path in paths) and not arguments[0].startswith("-"):
        arguments.insert(0, str(INSTRUMENTED))
    child = WarmProcess(socket, arguments, relays=relays, executable=python)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: os.kill(child.pid, number))
    ended = child.wait()
    return ended if ended >= 0 else 128 - ended


if __name__ == "__main__":
    sys.exit(main())
