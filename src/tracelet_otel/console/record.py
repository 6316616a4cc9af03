"""Records what one process prints: lines, put into the run's spool every few seconds, and told to the process."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path
from typing import Final

from tracelet_otel.console.printed import Printed
from tracelet_otel.protocol.console import LONGEST, ConsoleLine, printing, put_lines

_INTERVAL_S: Final = 2.0
"""Time between two entries."""
_SETTLES_S: Final = 0.25
"""A line counts as it is when its end is so long ago: the cursor may come back to it."""
_MOST_WAITING: Final = 16 * 2**20
"""Of what is printed and not recorded yet so much is kept, in bytes; more is left out."""
_AT_END: Final = 4 * 2**20
"""So much of what is printed is kept for the end where there is more than may be recorded, in bytes."""
_MOST_LINES: Final = 2000
"""Of an entry, so that each fits into a request."""


class _Mark(Enum):
    """What is among the bytes that wait."""

    GONE = "gone"
    END = "end"


Tell = Callable[[list[ConsoleLine]], None]


class Record:
    """The lines of one process, made on a thread of its own.

    Args:
        streams: names of the places that it prints to, by number: `stdout`, `stderr`, or an empty text for both.
        secrets: texts that must not be shown.
        tell: is called with lines; None where nobody wants to know them.
        on_put: is called when there is a new entry.
    """

    def __init__(
        self, streams: Iterable[str], secrets: Iterable[str], tell: Tell | None, on_put: Callable[[], None]
    ) -> None:
        kept = list(secrets)
        self._printed = [Printed(stream, kept) for stream in streams]
        self._tell = tell
        self._on_put = on_put
        self._waiting: queue.SimpleQueue[tuple[int, bytes, int] | _Mark] = queue.SimpleQueue()
        self._waiting_bytes = 0
        self._lost = 0
        self._changing = threading.Lock()
        self._is_placed = threading.Event()
        self._spool: Path | None = None
        self._name = ""
        self._put_unix_nano = 0
        """Time of the last entry."""
        self._kept: list[ConsoleLine] = []
        """For the next entry."""
        self._written = 0
        """In bytes of text."""
        self._late: deque[ConsoleLine] = deque()
        self._late_bytes = 0
        self._left_out = 0
        """Lines between what was written and `_late`."""
        self._is_ending = False
        self.problem: str | None = None
        """Why lines could not be put into the spool; None where they could."""
        self._printing = contextlib.ExitStack()
        """Open as long as the run's relay has to wait for lines."""
        self.is_over: Final = threading.Event()
        """Set when all is recorded."""
        threading.Thread(target=self._work, name="tracelet-record", daemon=True).start()

    def place(self, spool: Path | None, name: str, *, is_wanted: bool = True) -> None:
        """Say where lines go. Nothing is recorded before that.

        Args:
            spool: the run's spool; None where no relay takes them.
            name: what `file_name` has returned.
            is_wanted: whether anybody wants to know lines; it was not known before which rank prints them.
        """
        self._spool, self._name = spool, name
        self._tell = self._tell if is_wanted else None
        self._is_placed.set()

    def add(self, number: int, data: bytes, time_unix_nano: int) -> None:
        """Take what was printed, without waiting."""
        with self._changing:
            if self._is_ending:
                return
            if self._waiting_bytes + len(data) > _MOST_WAITING:
                self._lost += len(data)
                return
            self._waiting_bytes += len(data)
        self._waiting.put((number, data, time_unix_nano))

    def leave(self) -> None:
        """Record what there is: the process is gone. What it has started may still print, and nobody waits for that."""
        self._is_placed.set()
        self._waiting.put(_Mark.GONE)

    def end(self) -> None:
        """Take nothing more, and record what there is."""
        with self._changing:
            self._is_ending = True
        self._is_placed.set()
        self._waiting.put(_Mark.END)

    def _work(self) -> None:
        self._is_placed.wait()
        try:
            with self._printing:
                if self._spool is not None:
                    self._printing.enter_context(printing(self._spool, self._name))
                self._record()
        except Exception as error:
            self.problem = str(error) if isinstance(error, OSError) else repr(error)
        finally:
            self.is_over.set()

    def _record(self) -> None:
        put_s = time.monotonic()
        while True:
            try:
                # Without an end of the wait where there is nothing to be put.
                item = self._waiting.get(timeout=_SETTLES_S if self._has_lines else None)
            except queue.Empty:
                pass
            else:
                if item is _Mark.END:
                    break
                if item is _Mark.GONE:
                    self._finish()
                    self._printing.close()
                else:
                    self._take(*item)
            self._keep_settled(time.time_ns() - int(_SETTLES_S * 1e9))
            if self._kept and time.monotonic() - put_s >= _INTERVAL_S:
                self._put()
                put_s = time.monotonic()
        self._finish()

    def _finish(self) -> None:
        """Put all that was printed so far, also lines that have not ended."""
        self._note_lost(time.time_ns())
        self._keep(_in_order(one.finish() for one in self._printed))
        self._end_late()
        self._put()

    @property
    def _has_lines(self) -> bool:
        return bool(self._kept) or any(one.is_pending for one in self._printed)

    def _take(self, number: int, data: bytes, time_unix_nano: int) -> None:
        with self._changing:
            self._waiting_bytes -= len(data)
        self._printed[number].feed(data, time_unix_nano)
        if self._waiting.empty():
            # What came too fast came behind all that waited.
            self._note_lost(time_unix_nano)

    def _keep_settled(self, until_unix_nano: int) -> None:
        self._keep(_in_order(one.take(until_unix_nano) for one in self._printed))

    def _note_lost(self, time_unix_nano: int) -> None:
        with self._changing:
            lost, self._lost = self._lost, 0
        if lost:
            self._keep_settled(time_unix_nano)
            note = f"[tracelet-otel: {lost} bytes were printed too fast to be recorded]"
            self._keep([ConsoleLine(time_unix_nano, note)])

    def _keep(self, lines: list[ConsoleLine]) -> None:
        for one in lines:
            size = len(one.text) + 1
            if self._written + size <= LONGEST - _AT_END and not self._late:
                self._written += size
                self._kept.append(one)
            else:
                self._late.append(one)
                self._late_bytes += size
                while self._late_bytes > _AT_END:
                    self._late_bytes -= len(self._late.popleft().text) + 1
                    self._left_out += 1
        if len(self._kept) >= _MOST_LINES:
            self._put()

    def _end_late(self) -> None:
        if self._left_out:
            note = f"[tracelet-otel: {self._left_out} lines were left out here, as more was printed than is recorded]"
            self._kept.append(ConsoleLine(self._late[0].time_unix_nano, note))
            self._left_out = 0
        self._late_bytes = 0
        while self._late:
            self._kept.append(self._late.popleft())
            if len(self._kept) >= _MOST_LINES:
                self._put()

    def _put(self) -> None:
        lines, self._kept = self._kept, []
        if not lines:
            return
        if self._tell is not None:
            self._tell(lines)
        if self._spool is not None:
            self._put_unix_nano = max(lines[0].time_unix_nano, self._put_unix_nano + 1)
            try:
                put_lines(self._spool, self._name, lines, self._put_unix_nano)
            except OSError as error:
                # The spool is gone, as its relay has ended, or the disk is full.
                self.problem = str(error)
                self._spool = None
                self._printing.close()
            else:
                self._on_put()


def _in_order(streams: Iterable[list[ConsoleLine]]) -> list[ConsoleLine]:
    return sorted((line for lines in streams for line in lines), key=lambda line: line.time_unix_nano)
