"""Writes and reads the notice of a run (`protocol.notice`)."""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tracelet_otel import semconv
from tracelet_otel._support.guard import log
from tracelet_otel._support.processes import started
from tracelet_otel.protocol.decode import Batch
from tracelet_otel.protocol.notice import NOTICE_SUFFIX, LastValue, Notice, SeenProcess
from tracelet_otel.protocol.run_identity import RunIdentity, run_identity
from tracelet_otel.relay.journal import Journal
from tracelet_otel.relay.run import RelayedRun
from tracelet_otel.settings import Settings

_INTERVAL_S: Final = 1.0
"""Shortest time between two notices of a run."""
_MOST_VALUES: Final = 1000
"""Metrics of which a notice has the last value: those that were logged last."""
_ATTEMPTS: Final = 5
_PAUSE_S: Final = 0.01
"""So often, and after such pauses, a notice is read again that is being written."""


class NoticeFile:
    """The file of a notice, open for reading. It can be read after it was removed, too: it then has the last notice.

    Args:
        path: of the file.

    Raises:
        OSError: it is not there, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)

    def __enter__(self) -> NoticeFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self) -> Notice | None:
        """The notice; None where there is none that can be read."""
        for _ in range(_ATTEMPTS):
            try:
                return Notice.from_line(os.pread(self._file.fileno(), os.fstat(self._file.fileno()).st_size, 0))
            except (OSError, ValueError):
                time.sleep(_PAUSE_S)
        return None

    @property
    def is_removed(self) -> bool:
        """Whether its run is over, with nothing left of it."""
        return os.fstat(self._file.fileno()).st_nlink == 0


def read_notice(journal: Path) -> Notice | None:
    """The notice of the run that has a journal; None where there is none that can be read."""
    try:
        with NoticeFile(journal.with_suffix(NOTICE_SUFFIX)) as file:
            return file.read()
    except OSError:
        return None


class RunNotice:
    """Keeps the notice of a run up to date. What cannot be written is let be: nothing else depends on it.

    The file is written over, so that who has it open reads the last notice also where it was removed by then. It is
    removed with the journal (`Journal.remove`).

    Args:
        run: the run.
        journal: its journal, which has its resource and its owner once it is open in its trackers.
        settings: name its backends.
    """

    def __init__(self, run: RelayedRun, journal: Journal, settings: Settings) -> None:
        self._run = run
        self._journal = journal
        self._backends = settings.trackers
        self._path = journal.path.with_suffix(NOTICE_SUFFIX)
        self._descriptor: int | None = None
        self._identity: RunIdentity | None = None
        self._owner: SeenProcess | None = None
        self._relay = SeenProcess(os.getpid(), started(os.getpid()))
        before = read_notice(journal.path)
        """What the relay before this one has told last."""
        self._trainer = None if before is None else before.trainer
        self._values = {} if before is None else {one.name: one for one in before.values}
        self._last: Notice | None = None
        self._next_s = 0.0
        self._lock = threading.Lock()

    def hear(self, batches: Iterable[Batch]) -> None:
        """Take note of how far the trainer is, as rank 0 says it."""
        for batch in batches:
            if batch.trainer is not None and not batch.rank:
                self._trainer = batch.trainer

    def look(self) -> None:
        """Write the notice where that is due; to be called regularly."""
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + _INTERVAL_S
            self.tell()

    def tell(self, *, has_ended: bool = False) -> None:
        """Write the notice, if it says anything new.

        Args:
            has_ended: whether the run is being closed, whatever its owner has said.
        """
        try:
            with self._lock:
                notice = self._notice(has_ended=has_ended)
                if notice is not None and notice != self._last:
                    self._last = notice
                    self._write(replace(notice, told_unix_nano=time.time_ns()).line())
        except Exception as error:
            log.debug("the notice of a run cannot be written: %r", error)

    @contextmanager
    def while_closing(self) -> Iterator[None]:
        """Keep the notice up to date while the block closes the run; after that it says the last of it."""
        self.tell(has_ended=True)
        is_closed = threading.Event()

        def keep() -> None:
            while not is_closed.wait(_INTERVAL_S):
                self.tell(has_ended=True)

        thread = threading.Thread(target=keep, name="tracelet-notice", daemon=True)
        with suppress(RuntimeError):  # at exit, some interpreters start no more threads
            thread.start()
        try:
            yield
        finally:
            is_closed.set()
            if thread.ident is not None:
                thread.join()
            self.tell(has_ended=True)
            self.close()

    def close(self) -> None:
        """Close the file: nothing more is told."""
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def _notice(self, *, has_ended: bool) -> Notice | None:
        identity = self._read_identity()
        if identity is None:
            return None
        status, known = self._run.status, self._run.known
        parent = identity.attributes.get(semconv.PARENT_RUN_ID)
        return Notice(
            run_id=identity.run_id,
            run_name=identity.run_name,
            project=identity.project,
            host=platform.node(),
            relay=self._relay,
            owner=self._owner,
            parent_run_id=None if parent is None else str(parent),
            backends=self._backends,
            start_unix_nano=identity.start_unix_nano,
            has_ended=known.ended or has_ended,
            is_over=status.over,
            is_complete=status.complete,
            end_unix_nano=known.end_unix_nano,
            outcome=status.outcome,
            accounts=status.accounts,
            urls=status.urls,
            trainer=self._trainer,
            values=self._last_values(),
        )

    def _last_values(self) -> tuple[LastValue, ...]:
        # Another thread adds to it.
        for one in list(self._run.latest.newest.values()):
            told = LastValue(one.name, one.value, one.step, one.axis, one.time_unix_nano, one.is_system)
            self._values[one.name] = told
        found = sorted(self._values.values(), key=lambda one: -one.time_unix_nano)
        return tuple(found[:_MOST_VALUES])

    def _read_identity(self) -> RunIdentity | None:
        """Who the run is; None before its trackers know it."""
        if self._identity is None:
            state = self._journal.state
            if "resource" in state:
                self._identity, self._owner = run_identity(state["resource"]), _process(state.get("owner"))
        return self._identity

    def _write(self, line: bytes) -> None:
        if self._descriptor is None:
            if not self._journal.path.exists():
                return  # nothing would remove the file
            self._descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
        os.pwrite(self._descriptor, line, 0)
        os.ftruncate(self._descriptor, len(line))


def _process(owner: Mapping[str, Any] | None) -> SeenProcess | None:
    """The process that owns a run, from what a journal has of it."""
    if owner is None or owner["host"] != platform.node():
        return None
    return SeenProcess(owner["pid"], owner["started"])
