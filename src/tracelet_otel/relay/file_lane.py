"""Gives the files of a run to one tracker, one after another. A file that it does not take keeps no other waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from typing import Final

from tracelet_otel._support.guard import Guard
from tracelet_otel._support.pauses import spread
from tracelet_otel._support.progress_condition import ProgressCondition
from tracelet_otel.errors import TraceletError, TrackerUnavailableError
from tracelet_otel.exporters.files import FileWriter
from tracelet_otel.protocol.files import FileKind, RunFile
from tracelet_otel.protocol.run_identity import RunIdentity
from tracelet_otel.relay.misses import Misses
from tracelet_otel.relay.spool import Spool

_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 10.0
_SLOWEST: Final = 2**18
"""Bytes in a second: an upload that is slower than this counts as one that has stopped."""


class FileLane:
    """What one tracker still has to get, and the thread that gives it.

    Args:
        tracker: name of the tracker.
        writer: writes files to it.
        run: the run.
        spool: the run's spool.
        trackers: names of all trackers that get its entries.
        guard: where problems are reported.
    """

    def __init__(
        self,
        tracker: str,
        writer: FileWriter,
        run: RunIdentity,
        spool: Spool,
        trackers: Collection[str],
        guard: Guard,
    ) -> None:
        self._tracker = tracker
        self._writer = writer
        self._run = run
        self._spool = spool
        self._trackers = trackers
        self._guard = guard
        self._changed = ProgressCondition()
        self._waiting: list[str] = []
        self._known: set[str] = set()
        """All entries of the spool that were taken up."""
        self._misses = Misses()
        """Those that wait and were tried. Used by the thread, and under the lock by others."""
        self._thread: threading.Thread | None = None
        self._is_open = False
        self._is_lost = False
        """Whether the tracker will never take any."""
        self._closed = False
        self.problem: str | None = None
        """Why the tracker took nothing at the last attempt that failed."""
        self.refused = 0
        """How many entries it will never have."""
        self._slow_until_s = 0.0
        """How long the upload that is going on may take, on the monotonic clock."""

    @property
    def is_pending(self) -> bool:
        """Whether there is something that the tracker does not have."""
        with self._changed:
            return bool(self._waiting)

    def notice(self, names: Collection[str]) -> None:
        """Take up entries that are new, and start the thread where there is none.

        Args:
            names: names of all entries of the spool.
        """
        with self._changed:
            if self._closed:
                return
            self._known.intersection_update(names)
            fresh = [name for name in names if name not in self._known and not self._spool.is_done(name, self._tracker)]
            self._known.update(names)
            if not fresh:
                return
            # A slow process may finish an entry after a later one of another process was finished.
            self._waiting = sorted([*self._waiting, *fresh])
            self._start()
            self._changed.notify_all()

    def close(self, patience_s: float) -> None:
        """Wait until all is taken, and take up nothing more.

        What the run has recorded by itself and the tracker does not take is tried once more, and given up: a store of
        artifacts that cannot be reached is no reason to wait where the user has recorded no file.

        Args:
            patience_s: give up when nothing was taken for so many seconds; an upload that is going on has longer.
        """
        with self._changed:
            before = self._misses.counts()

            def is_done() -> bool:
                now = self._misses.counts()
                return all(now.get(one, 0) > before.get(one, 0) and self._spool.is_own(one) for one in self._waiting)

            while self._waiting and self._thread is not None:
                if self._changed.wait_until(is_done, patience_s) or time.monotonic() > self._slow_until_s:
                    break
            self._closed = True
            given_up = [name for name in self._waiting if name in self._misses and self._spool.is_own(name)]
            self._changed.notify_all()
        for name in given_up:
            reason = self.problem or "it was not taken"
            self._guard.report(f"{self._tracker} does not have a file that the run has recorded by itself", reason)
            self._done(name)

    def _start(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._work, name=f"tracelet-files-{self._tracker}", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                # At exit, some interpreters start no more threads. What there is stays in the spool.
                self._guard.report("files were not delivered", error)
            else:
                self._thread = thread

    def _work(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                name = self._misses.next_of(self._waiting, self._spool.file_of)
            try:
                self._deliver(name)
            except (TrackerUnavailableError, OSError) as error:
                self.problem = str(error)
                self._missed(name, str(error), pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                pause_s = _FIRST_PAUSE_S

    def _missed(self, name: str, reason: str, pause_s: float) -> None:
        """Take note that an entry was not taken, and wait until it is time to try the next one.

        Args:
            name: its name.
            reason: why it was not taken.
            pause_s: so long, in seconds, where the tracker may be away.
        """
        file = self._spool.file_of(name) or RunFile(name, FileKind.FILE, 0)
        with self._changed:
            miss = self._misses.add(name, file, reason)
        is_there = miss.tries is not None
        what = "does not take a file, but others" if is_there else "takes no files"
        # A run that begins in the background may not be there yet when its first file is.
        if self._is_open or pause_s == _LONGEST_PAUSE_S:
            kept = "it is" if is_there else "they are"
            self._guard.report(f"{self._tracker} {what}; {kept} kept and sent again", reason)
        with self._changed:
            # Whoever waits for the end has no time for long pauses.
            is_awaited = self._changed.is_awaited
            now_s = _FIRST_PAUSE_S if is_awaited else miss.pause_s if is_there else pause_s

            def is_time() -> bool:
                has_others = (is_there or file.is_own) and self._misses.has_fresh(self._waiting, self._spool.file_of)
                return self._closed or has_others or self._changed.is_awaited != is_awaited

            self._changed.notify_all()
            self._changed.wait_for(is_time, spread(now_s))

    def _deliver(self, name: str) -> None:
        """Write one entry, unless the tracker refuses it, or has not taken it so often that this is no other thing.

        Raises:
            TrackerUnavailableError: it may be written later.
            OSError: the same.
        """
        miss = self._misses.refused(name)
        if miss is not None:
            self._done(name)
            self._refused(f"{miss.file.name!r} {miss.count} times, while it took others: {miss.reason}")
            return
        try:
            if not self._is_open and not self._is_lost:
                self._open()
            if self._is_open:
                self._write(name)
        except (TrackerUnavailableError, OSError):
            raise
        except Exception as error:
            self._refused(str(error) if isinstance(error, TraceletError) else error)
        self._done(name)

    def _refused(self, reason: Exception | str) -> None:
        self.refused += 1
        self._guard.report(f"{self._tracker} has refused a file", reason)

    def _done(self, name: str) -> None:
        self._spool.mark(name, self._tracker, self._trackers)
        with self._changed:
            self._misses.remove(name)
            if name in self._waiting:
                self._waiting.remove(name)
        self._changed.advance()

    def _open(self) -> None:
        try:
            self._writer.open(self._run)
        except (TrackerUnavailableError, OSError):
            raise
        except Exception:
            self._is_lost = True
            raise
        self._is_open = True

    def _write(self, name: str) -> None:
        try:
            entry = self._spool.read(name)
        except (FileNotFoundError, NotADirectoryError):
            # The training has removed it, because something newer is there in its place.
            return
        except ValueError as error:
            self._guard.report("an entry of a spool cannot be read", f"{self._spool.directory / name}: {error}")
            return
        self._slow_until_s = time.monotonic() + (entry.file.size or 0) / _SLOWEST
        try:
            self._writer.write(self._misses.as_it_is_now(name, entry.file), entry.content)
            with self._changed:
                self._misses.taken(name, entry.file)
        except FileNotFoundError as error:
            if entry.directory.exists():
                self._guard.report("a file was gone before it was recorded", f"{entry.file.name}: {error}")
