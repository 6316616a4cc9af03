"""Descriptors 1 and 2 of this process: replaced by ones that the console process reads, and put back."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any, Final

from tracelet_otel.protocol.console_calls import Key

_STREAMS: Final = {1: "stdout", 2: "stderr"}
_PIPE_BYTES: Final = 2**20


class PrintedTo:
    """A place that this process prints to.

    Args:
        descriptors: those that lead there: 1, 2, or both.
        before: what they led to.

    Raises:
        OSError: no pipe or terminal can be made.
    """

    def __init__(self, descriptors: Sequence[int], before: Key) -> None:
        self.before: Final = before
        self.stream: Final = _STREAMS[descriptors[0]] if len(descriptors) == 1 else ""
        """Name of the stream; empty for both: one pipe keeps the order of what is printed, and tells them not apart."""
        self.target: Final = os.dup(descriptors[0])
        """Another descriptor of what they led to."""
        self._descriptors = descriptors
        self.source, sink = _terminal(self.target) if os.isatty(self.target) else os.pipe()
        """The end to read from."""
        self._sink: int | None = sink
        self._is_closed = False
        self.key: Final = key_of(sink)
        """What the process writes to once it is replaced: a terminal where it was one before, and else a pipe."""
        if sys.platform == "linux":
            import fcntl

            with contextlib.suppress(OSError):
                # A terminal has no such size.
                fcntl.fcntl(sink, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def replace(self) -> None:
        """Have the descriptors lead to the sink."""
        if self._sink is not None:
            for one in self._descriptors:
                os.dup2(self._sink, one)
            os.close(self._sink)
            self._sink = None

    def put_back(self) -> None:
        """Have the descriptors lead to where they did before. One that somebody else has replaced is left alone."""
        for one in self._descriptors:
            with contextlib.suppress(OSError):
                if not self._is_closed and key_of(one) == self.key:
                    os.dup2(self.target, one)

    def close(self) -> None:
        """Close all ends. A second call does nothing: by then, their numbers may be those of others."""
        if not self._is_closed:
            self._is_closed = True
            for one in (self.target, self.source, self._sink):
                if one is not None:
                    with contextlib.suppress(OSError):
                        os.close(one)


def key_of(descriptor: int) -> Key:
    """What tells the open file behind a descriptor from others."""
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino, found.st_rdev


def places() -> list[PrintedTo]:
    """The places that this process prints to, not replaced yet. There is one where both streams lead to the same.

    Raises:
        OSError: no pipe or terminal can be made.
    """
    by_key: dict[Key, list[int]] = {}
    for one in _STREAMS:
        with contextlib.suppress(OSError):
            by_key.setdefault(key_of(one), []).append(one)
    return [PrintedTo(descriptors, key) for key, descriptors in by_key.items()]


def flush() -> None:
    """Have Python's own streams write what they have kept."""
    streams: list[Any] = [sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__]
    for one in streams:
        with contextlib.suppress(Exception):
            one.flush()


def _terminal(like: int) -> tuple[int, int]:
    """A terminal of ours with mode and size of another one, which changes nothing of what is written."""
    import fcntl
    import termios

    source, sink = os.openpty()
    with contextlib.suppress(termios.error, OSError):
        mode = termios.tcgetattr(like)
        mode[1] &= ~termios.OPOST
        mode[3] &= ~(termios.ECHO | termios.ISIG)
        termios.tcsetattr(sink, termios.TCSANOW, mode)
        fcntl.ioctl(source, termios.TIOCSWINSZ, fcntl.ioctl(like, termios.TIOCGWINSZ, bytes(8)))
    return source, sink
