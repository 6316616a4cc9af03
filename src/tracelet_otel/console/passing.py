"""Passes on what a process prints, byte by byte, to where it would have gone without us."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

_READ_BYTES: Final = 2**16
_LOOK_S: Final = 0.25
"""Time between two looks at the size of a terminal's window."""


class Passing:
    """One descriptor of a process, which is read and passed on, by a thread of its own.

    The user's terminal, file or pipe may take nothing for a while. Then nothing more is read, and the process that
    prints waits, as it would without us. What is recorded never makes it wait.

    Args:
        source: is read until nobody has its other end open any more: a pipe, or a terminal of ours.
        target: where it goes. It is shared with others, so its flags are left alone.
        on_data: called with what was passed on, and with when it was read, in nanoseconds since the epoch.
        on_end: called when nothing more will come.
    """

    def __init__(
        self, source: int, target: int, on_data: Callable[[bytes, int], None], on_end: Callable[[], None]
    ) -> None:
        self.target: Final = target
        self._source = source
        self._on_data = on_data
        self._on_end = on_end
        self._is_terminal = os.isatty(source)
        self._busy = threading.Lock()
        """Held from before something is read until it was passed on."""
        self._is_over = False
        threading.Thread(target=self._work, name="tracelet-passing", daemon=True).start()

    def drain(self, until_s: float) -> bool:
        """Wait until all that was printed before is passed on.

        Args:
            until_s: when to give up, on the monotonic clock.
        """
        while time.monotonic() < until_s:
            if self._busy.acquire(timeout=max(0.0, until_s - time.monotonic())):
                try:
                    if self._is_over or not _is_readable(self._source, 0):
                        return True
                finally:
                    self._busy.release()
                # Its thread is about to read.
                time.sleep(0.001)
        return False

    def _work(self) -> None:
        size = None
        while True:
            if self._is_terminal:
                size = _keep_size(self._source, self.target, size)
            if not _is_readable(self._source, _LOOK_S if self._is_terminal else None):
                continue
            with self._busy:
                try:
                    data = os.read(self._source, _READ_BYTES)
                except OSError:
                    # A terminal that nobody has open any more.
                    data = b""
                if data:
                    now_unix_nano = time.time_ns()
                    write(self.target, data)
                    self._on_data(data, now_unix_nano)
                else:
                    self._is_over = True
            if self._is_over:
                os.close(self._source)
                self._on_end()
                return


def _is_readable(descriptor: int, timeout_s: float | None) -> bool:
    # For a terminal, this also waits for what is still on its way in the kernel.
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(None if timeout_s is None else timeout_s * 1e3))


def write(target: int, data: bytes) -> None:
    """Pass bytes on, however long it takes. What cannot be passed on any more is dropped, as nobody would see it.

    Args:
        target: where they go.
        data: the bytes.
    """
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(target, left) :]
        except BlockingIOError:
            # Somebody else has made it not wait.
            poll = select.poll()
            poll.register(target, select.POLLOUT)
            poll.poll()
        except OSError:
            # Its reader is gone, or its disk is full: what is printed is still recorded.
            return


def _keep_size(source: int, target: int, known: bytes | None) -> bytes | None:
    """Give our terminal the size of the user's; returns that size."""
    if sys.platform == "win32":
        return None
    import fcntl
    import termios

    with contextlib.suppress(OSError):
        size: bytes = fcntl.ioctl(target, termios.TIOCGWINSZ, bytes(8))
        if size != known:
            fcntl.ioctl(source, termios.TIOCSWINSZ, size)
        return size
    return known
