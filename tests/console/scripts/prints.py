"""Prints in many ways. With a directory as argument, what it prints is recorded there.

Arguments: the scenario, and the directory or nothing.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
import warnings
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tracelet_otel._support.guard import Guard
from tracelet_otel.resource.membership import Membership
from tracelet_otel.resource.rank_info import RankInfo
from tracelet_otel.session.console.capture import ConsoleCapture


class LocalRole:
    """The role of a process whose relay is on this machine."""

    def __init__(self, spool: Path, rank: int | None = None) -> None:
        self.run_id = "r1"
        self.spool = spool
        self.owns_run = not rank
        self.membership = Membership(None if rank is None else RankInfo(rank))


def captured(directory: str | Path, rank: int | None = None, *, is_of_all: bool = True, tell: Any = None) -> Any:
    made = ConsoleCapture(
        LocalRole(Path(directory), rank),  # type: ignore[arg-type]
        is_of_all=is_of_all,
        tell=tell,
        part="",
        on_put=lambda: None,
        guard=Guard(),
    )
    made.start()
    return made


def in_child(number: int) -> None:
    print(f"worker {number}", flush=True)


def many_ways() -> None:
    size = tuple(os.get_terminal_size(1)) if os.isatty(1) else None
    print("terminal", os.isatty(1), os.isatty(2), sys.stdout.isatty(), size)
    for number in range(200):
        print(f"out {number}", flush=True)
        print(f"err {number}", file=sys.stderr, flush=True)
    os.write(1, b"raw out\n")
    os.write(2, b"raw err\n")
    library = ctypes.CDLL(None)
    library.puts(b"of C")
    library.fflush(None)
    # Of a file, the name would begin anew.
    script = "echo of a shell; echo its error >&2; [ ! -t 2 ] || echo by name > /dev/stderr"
    subprocess.run(["sh", "-c", script], check=True)
    worker = get_context("fork").Process(target=in_child, args=(1,))
    worker.start()
    worker.join()
    for number in range(30):
        sys.stderr.write(f"\r\x1b[32mbar\x1b[0m {number}")
        sys.stderr.flush()
    print(file=sys.stderr)
    sys.stdout.write("x" * 300_000 + "\n")
    warnings.warn("a warning", stacklevel=1)
    print("no end of line", end="", flush=True)


def killed() -> None:
    print("before", flush=True)
    os.write(1, b"y" * 60_000 + b"\nlast words\n")
    os.kill(os.getpid(), signal.SIGKILL)


def killed_beside_others() -> None:
    """What it has started has its pipes open for longer, until standard input ends."""
    subprocess.Popen(["cat"])
    print("before", flush=True)
    os.write(1, b"last words\nno end of line")
    os.kill(os.getpid(), signal.SIGKILL)


def crashes() -> None:
    print("before", flush=True)
    ctypes.CDLL(None).abort()


def holds_the_lock() -> None:
    """Writes more than a pipe takes without ever letting go of the interpreter's lock."""
    library = ctypes.PyDLL(None)
    for _ in range(50):
        library.write(1, b"z" * 100_000, 100_000)
    print("\ndone", flush=True)


def waits() -> None:
    print("begun", flush=True)
    sys.stdin.readline()
    print("goes on", flush=True)


def listener_is_broken(directory: str) -> None:
    def tell(lines: list[Any]) -> None:
        raise ValueError("a bug")

    capture = captured(directory, tell=tell)
    print("first", flush=True)
    capture.close()
    print(capture._guard.counts)


def interrupted() -> None:
    try:
        print("begun", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print("interrupted", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == listener_is_broken.__name__:
        listener_is_broken(sys.argv[2])
        sys.exit()
    capture = captured(sys.argv[2]) if len(sys.argv) > 2 else None
    globals()[sys.argv[1]]()
    if capture is not None:
        capture.close()
        print("\nafter", flush=True)
    else:
        print("\nafter", flush=True)
