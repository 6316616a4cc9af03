"""The files of a run in the relay: taken from the run's spool, until each tracker that takes files has them."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tracelet_otel._support.guard import Guard
from tracelet_otel.errors import TraceletError
from tracelet_otel.exporters.files import TakesFiles
from tracelet_otel.protocol.console import end_console, is_printing, join
from tracelet_otel.protocol.files import FileKind
from tracelet_otel.protocol.run_identity import run_identity
from tracelet_otel.relay.file_lane import FileLane
from tracelet_otel.relay.phase import EndedError, TooLateError
from tracelet_otel.relay.spool import Spool

_PRINTED_S: Final = 5.0
"""So long the end of a run waits for what a training has printed before it was killed."""
_LOOK_S: Final = 0.02


class RunFiles:
    """The files of one run, with a thread for each tracker that takes files. What all have taken leaves the spool.

    Args:
        directory: the spool, into which the training puts entries.
        guard: where problems are reported.
        joins_console: whether what ranks print is kept as a whole, too. A training that sends files needs only parts.
    """

    def __init__(self, directory: Path, guard: Guard, *, joins_console: bool = False) -> None:
        self._spool = Spool(directory)
        self._guard = guard
        self._joins_console = joins_console
        self._joining = threading.Lock()
        self._joined: set[str] = set()
        """Entries that were looked at."""
        self._lanes: dict[str, FileLane] = {}
        self._refusal: TraceletError | None = None
        self.may_go_on = False
        """Whether the relay goes on with a run that nobody has ended: then what is kept of its console stays."""

    @property
    def directory(self) -> Path:
        """The spool.

        Raises:
            EndedError: nothing more is taken out of it, until the run goes on.
            TooLateError: nothing more is taken out of it.
        """
        if self._refusal is not None:
            raise self._refusal
        return self._spool.directory

    def begin(self, trackers: Mapping[str, object], resource: Mapping[str, Any]) -> None:
        """Deliver to those trackers that take files.

        Args:
            trackers: trackers of the run, by name; or the relay, as a training sees it.
            resource: attributes of the run's resource.
        """
        run = run_identity(resource)
        writers = {name: one.file_writer() for name, one in trackers.items() if isinstance(one, TakesFiles)}
        self._lanes = {
            name: FileLane(name, writer, run, self._spool, writers, self._guard) for name, writer in writers.items()
        }
        self.notice()

    def notice(self) -> None:
        """Look for new entries; called whenever something comes from the training."""
        if self._lanes and (names := self._names()):
            for lane in self._lanes.values():
                lane.notice(names)

    def _names(self) -> list[str]:
        """Names of all entries. What they have of the console is joined to what was there before."""
        if not self._joins_console:
            return self._spool.names
        with self._joining:
            names = self._spool.names
            for name in names:
                if name not in self._joined:
                    self._join(name)
            self._joined = set(names)
            return names

    def _join(self, name: str) -> None:
        try:
            entry = self._spool.read(name)
            if entry.file.kind is FileKind.CONSOLE:
                join(entry)
        except (OSError, ValueError) as error:
            self._guard.report("what was printed is not kept as a whole", error)

    def pending(self, tracker: str) -> bool:
        """Whether a tracker takes files and does not have all of them."""
        lane = self._lanes.get(tracker)
        return lane is not None and lane.is_pending

    def problem(self, tracker: str) -> str | None:
        """Why a tracker does not have all files; None where it has them, or nothing is known."""
        lane = self._lanes.get(tracker)
        return lane.problem if lane is not None and lane.is_pending else None

    def refused(self, tracker: str) -> int:
        """How many files a tracker has refused."""
        lane = self._lanes.get(tracker)
        return 0 if lane is None else lane.refused

    def end(self, *, has_ended: bool, has_failed: bool) -> None:
        """Take nothing more from other machines, and give each tracker what was printed as a whole.

        Args:
            has_ended: whether the run's owner has ended it. Where nothing came for long, the run may go on.
            has_failed: whether the last lines are kept with the reason of a failure.
        """
        # Before the last look: what comes after that would be answered, and not be delivered.
        self._refusal = TooLateError("the run is over") if has_ended else EndedError("nothing has come for long")
        try:
            self._wait_for_lines()
            self._names()
            end_console(self._spool.directory, has_failed=has_failed)
        except OSError as error:
            self._guard.report("the end of the console was not recorded", error)

    def _wait_for_lines(self) -> None:
        until_s = time.monotonic() + _PRINTED_S
        while is_printing(self._spool.directory):
            if time.monotonic() > until_s:
                self._guard.report("the end of the console may not be recorded", f"not there within {_PRINTED_S:g} s")
                return
            time.sleep(_LOOK_S)

    def finish(self, tracker: str, patience_s: float) -> None:
        """Wait until a tracker has all files, since its run is to be closed then.

        Args:
            tracker: name of the tracker.
            patience_s: give up when it has taken nothing for so many seconds.
        """
        lane = self._lanes.get(tracker)
        if lane is not None:
            try:
                lane.notice(self._names())
                lane.close(patience_s)
            except OSError as error:
                # The run is to be closed all the same.
                self._guard.report("files were not delivered", error)

    def close(self) -> None:
        """Remove the spool. Where something is left in it, that is reported, and stays."""
        if not self._lanes:
            # Nobody takes files, so nobody will.
            for name in self._spool.names:
                if not self._spool.is_own(name):
                    self._guard.report("a file was not recorded", "no tracker of this run takes files")
                self._spool.remove(name)
        left = self._spool.names if self.may_go_on and isinstance(self._refusal, EndedError) else self._spool.close()
        if left:
            self._guard.report("files were not delivered", f"{len(left)} of them are in {self._spool.directory}")

    def forget(self) -> None:
        """Remove what has stayed, as the run will not go on."""
        self._spool.close()
