"""Runs whose training and relay both died: the next relay on the machine delivers and ends them."""

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
from tracelet_otel.relay.journal import SUFFIX, Journal, JournalInUseError
from tracelet_otel.relay.replay import deliver
from tracelet_otel.settings import Settings, from_plain

_PATIENCE_S: Final = 30.0
_UNTOUCHED_S: Final = 120.0
"""Whether an owner on another machine lives cannot be asked; its relay would have written by then."""


def adopt(directory: Path, own: Path, settings: Settings, is_over: Callable[[], bool]) -> None:
    """Deliver and end each run in a directory that nobody has any more.

    Args:
        directory: with journals.
        own: the journal of the caller's run. It must not even be opened: POSIX drops a process's
            locks on a file with any of its descriptors.
        settings: the caller's; their credentials serve where a run's address is the same.
        is_over: asked before each journal; what is left then is left to the next start.
    """
    for path in sorted(directory.glob(f"*{SUFFIX}")):
        if path == own:
            continue
        if is_over():
            return
        try:
            _adopt(path, settings)
        except JournalInUseError:
            continue
        except (TraceletError, OSError, LookupError, ValueError, TypeError) as error:
            # Whatever is in a file of another version, or of nobody's, it keeps no run from its end.
            log.warning("%s is left as it is: %s", path, error)


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
    owner = state.get("owner")
    if owner is not None and owner["host"] == platform.node():
        return not is_alive(owner["pid"], owner["started"])
    return time.time() - touched_s > _UNTOUCHED_S


def _last_touched_s(path: Path) -> float:
    """When a journal was last written to, seconds since the epoch."""
    written = path.with_name(path.name + "-wal")
    return max(file.stat().st_mtime for file in (path, written) if file.exists())
