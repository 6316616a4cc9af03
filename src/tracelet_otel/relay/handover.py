"""How the relay of a run that goes on gets the journal from the relay of the attempt before.

The training of that one is gone, and its relay may still be delivering. It ends at once, as if it were killed: all that
it has accepted is in the journal, and the relay after it is made for that. So two relays never write one run.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tracelet_otel._support.guard import log
from tracelet_otel.relay.journal import Journal, JournalInUseError
from tracelet_otel.settings import Settings, from_plain

_SUFFIX: Final = ".wanted"
_CHECK_INTERVAL_S: Final = 0.1
_ASKED_S: Final = 60.0
"""Who asks does so again and again. A file that is older was left by a process that was killed."""


def open_journal(path: Path, wait_s: float, *, asks: bool) -> Journal:
    """Open the journal of a run.

    Args:
        path: its file.
        wait_s: seconds to wait where another process has it open.
        asks: whether to ask that process to give way.

    Raises:
        JournalInUseError: another process has it open.
        JournalError: it cannot be read or written.
    """
    deadline_s = time.monotonic() + wait_s
    wanted = path.with_suffix(_SUFFIX)
    try:
        while True:
            before = _file(path)
            try:
                journal = Journal(path)
            except JournalInUseError:
                if time.monotonic() >= deadline_s:
                    raise
                if asks:
                    wanted.touch(mode=0o600)
            else:
                if before is None or _file(path) == before:
                    return journal
                # The process that had it open has deleted it by now.
                journal.close()
            time.sleep(_CHECK_INTERVAL_S)
    finally:
        if asks:
            wanted.unlink(missing_ok=True)


def is_wanted(journal: Path) -> bool:
    """Whether a relay waits for a journal, to go on with its run."""
    try:
        return time.time() - journal.with_suffix(_SUFFIX).stat().st_mtime < _ASKED_S
    except OSError:
        return False


def left_for_others(journal: Journal, settings: Settings) -> dict[str, int]:
    """How many readings a journal has for trackers of the attempt before, of which this one has none any more.

    Args:
        journal: journal of the run, as the attempt before has left it.
        settings: those of this attempt.

    Returns:
        Numbers of readings, by name of the tracker; only of those that lack some.
    """
    state = journal.state
    if "settings" not in state:
        return {}
    gone = set(from_plain(state["settings"]).trackers) - set(settings.trackers)
    positions = {name: journal.position(name) for name in sorted(gone)}
    left = {name: journal.readings_after(one.after) - one.taken for name, one in positions.items()}
    return {name: number for name, number in left.items() if number > 0}


def give_way(journal: Path, may_end: Callable[[], bool]) -> None:
    """End this process as soon as another relay wants the journal of its run, and it may end; on a thread of its own.

    Args:
        journal: the journal, which this process has open.
        may_end: returns whether the training is gone, and nothing more comes from it.
    """

    def watch() -> None:
        while not (may_end() and is_wanted(journal)):
            time.sleep(_CHECK_INTERVAL_S)
        log.info("the run goes on, with a relay of its own")
        os._exit(0)

    threading.Thread(target=watch, name="tracelet-handover", daemon=True).start()


def _file(path: Path) -> int | None:
    """What identifies the file at a path; None where there is none."""
    try:
        return path.stat().st_ino
    except OSError:
        return None
