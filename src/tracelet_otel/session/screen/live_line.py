"""Writes to standard error: plain lines, and on a terminal one line that is written over."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from tracelet_otel._support.terminal import is_terminal

_OVER: Final = "\r\x1b[K"
"""Moves a terminal's cursor to the beginning of the line, and clears it."""
_FRAMES: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_PLAIN_FRAMES: Final = "|/-\\"
_FRAME_S: Final = 0.1
_PATIENCE_S: Final = 1.0
"""What takes no longer is waited for without a word."""
_PLAIN_S: Final = 60.0
"""Seconds between two lines about one wait, where lines cannot be written over."""


class LiveLine:
    """Standard error as it is at each call: others may put something else in its place."""

    def __init__(self) -> None:
        self._is_shown = False
        self._said_s: float | None = None

    def say(self, text: str) -> None:
        """Write lines that stay."""
        # On a terminal a progress bar may stand in the line, which draws itself again below.
        self._write(f"{_OVER if is_terminal() else ''}{text}\n")
        self._is_shown = False

    def show(self, text: str) -> None:
        """Write a line over the last one that was shown. Without a terminal: a line, once a minute at most."""
        if is_terminal():
            self._write(f"{_OVER}{text[: shutil.get_terminal_size().columns - 1]}")
            self._is_shown = True
        elif self._said_s is None or time.monotonic() - self._said_s > _PLAIN_S:
            self._said_s = time.monotonic()
            self._write(f"{text}\n")

    def clear(self) -> None:
        """Take the line away that was shown last, if it is still there."""
        if self._is_shown:
            self._is_shown = False
            self._write(_OVER)

    @contextmanager
    def spinning(self, text: str) -> Iterator[None]:
        """Show a line that moves while the block goes on, once it takes longer than a second. Only on a terminal."""
        if not is_terminal():
            yield
            return
        done = threading.Event()
        thread = threading.Thread(target=self._spin, args=(text, done), name="tracelet-spinner", daemon=True)
        with suppress(RuntimeError):  # at exit, some interpreters start no more threads
            thread.start()
        try:
            yield
        finally:
            done.set()
            if thread.ident is not None:
                thread.join()
            self.clear()

    def _spin(self, text: str, done: threading.Event) -> None:
        began_s = time.monotonic()
        frames = _FRAMES if (getattr(sys.stderr, "encoding", None) or "").lower().startswith("utf") else _PLAIN_FRAMES
        wait_s, number = _PATIENCE_S, 0
        while not done.wait(wait_s):
            self.show(f"{frames[number % len(frames)]} {text} ({time.monotonic() - began_s:.0f} s)")
            wait_s, number = _FRAME_S, number + 1

    def _write(self, text: str) -> None:
        stream = sys.stderr
        # It may be closed, or its reader gone. Then nobody reads this.
        with suppress(OSError, ValueError, AttributeError):
            try:
                stream.write(text)
            except UnicodeEncodeError:
                stream.write(text.encode("ascii", "backslashreplace").decode())
            stream.flush()
