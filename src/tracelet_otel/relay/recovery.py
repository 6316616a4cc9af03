"""Delivers and ends runs whose training and relay both died; the next relay on the machine does it."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from tracelet_otel._support.guard import log
from tracelet_otel._support.processes import is_alive
from tracelet_otel.errors import TraceletError
from tracelet_otel.exporters import registry
from tracelet_otel.relay.deaths import sweep
from tracelet_otel.relay.handover import is_wanted
from tracelet_otel.relay.journal import SUFFIX, Journal, JournalInUseError
from tracelet_otel.relay.replay import deliver
from tracelet_otel.settings import Settings, from_plain

_PATIENCE_S: Final = 30.0
"""A backend that has taken nothing for so long is given up."""
_UNTOUCHED_S: Final = 120.0
"""Whether an owner on another machine is alive cannot be checked. Its journal is an orphan if nothing was written to it
for so long: a relay would have written by then."""


def adopt(directory: Path, settings: Settings, is_over: Callable[[], bool]) -> None:
    """Deliver and end each run in a directory that has neither a training nor a relay any more.

    Args:
        directory: the directory of the journals.
        settings: the caller's settings; their credentials are used where a run has the same address.
        is_over: asked before each journal whether to stop; the journals after that are left to the next start.
    """
    for path in sorted(directory.glob(f"*{SUFFIX}")):
        if is_over():
            return
        if is_wanted(path):
            continue
        try:
            _adopt(path, settings)
        except JournalInUseError:
            continue
        except (TraceletError, OSError, LookupError, ValueError, TypeError) as error:
            # A file of another version, or of another program, must not stop the others from being delivered.
            log.warning("%s is left as it is: %s", path, error)
    sweep(directory)


def _adopt(path: Path, settings: Settings) -> None:
    touched_s = _last_touched_s(path)
    journal = Journal(path)
    with journal.closed_on_error():
        state = journal.state
        if "settings" not in state or not _is_orphan(state, touched_s):
            journal.close()
            return
    log.info("%s was left by a training that is gone: delivering it", path)
    status = deliver(journal, registry.with_credentials(from_plain(state["settings"]), settings), _PATIENCE_S)
    log.info("%s: %s", path, "its run is complete" if status.complete else status.accounts)


def _is_orphan(state: Mapping[str, Any], touched_s: float) -> bool:
    """Whether the owner of a run is dead, or has to be taken for dead."""
    owner = state.get("owner")
    if owner is not None and owner["host"] == platform.node():
        return not is_alive(owner["pid"], owner["started"])
    return time.time() - touched_s > _UNTOUCHED_S


def _last_touched_s(path: Path) -> float:
    """When a journal was last written to, seconds since the epoch."""
    written = path.with_name(path.name + "-wal")
    return max(file.stat().st_mtime for file in (path, written) if file.exists())
