"""Finds the runs of this machine that are not over, or of which something waits. It changes nothing.

Each journal has a notice beside it, which its relay writes (`protocol.notice`). A run whose relay is elsewhere, or
keeps its journal in another directory, is found by the rendezvous file of its process, which has the relay's address
and token.
"""

from __future__ import annotations

import enum
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tracelet_otel import semconv
from tracelet_otel._support.processes import is_alive
from tracelet_otel.protocol.account import Account
from tracelet_otel.protocol.files import SPOOL_SUFFIX, entry_names
from tracelet_otel.protocol.messages import Status
from tracelet_otel.protocol.notice import Notice
from tracelet_otel.relay.journal import SUFFIX
from tracelet_otel.relay.lock import is_open
from tracelet_otel.relay.notice import read_notice
from tracelet_otel.relay.replay import journals
from tracelet_otel.session.calls import Address, fetch_status
from tracelet_otel.session.ranks.rendezvous import RunAddress, published

_TIMEOUT_S = 2.0
"""How long a relay may take to say how a run is."""


class RunState(str, enum.Enum):
    """Where a run is in its life."""

    RUNNING = "running"
    ENDING = "ending"
    """The training has ended, and its relay is delivering the rest."""
    ENDED = "ended"
    """All is delivered."""
    WAITING = "waiting"
    """No process of the run is there, and its journal has what is not delivered."""
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class FoundRun:
    """A run, and what is known of it."""

    run_id: str
    state: RunState
    has_relay: bool | None = None
    """Whether a process has its journal; None where that is not known."""
    name: str | None = None
    project: str | None = None
    parent_run_id: str | None = None
    backends: tuple[str, ...] | None = None
    accounts: Mapping[str, Account] = field(default_factory=dict)
    """By backend; a backend that is missing has not been heard of."""
    journal: Path | None = None
    """None where it is not on this machine."""
    files: int | None = None
    """How many files of the run wait in its spool; None where that is not on this machine."""
    notice: Notice | None = None
    """What its relay has told; None where it tells nothing here."""

    @property
    def start_unix_nano(self) -> int | None:
        """When it began, in nanoseconds since the epoch; None where that is not known."""
        return None if self.notice is None else self.notice.start_unix_nano


def find_runs(directory: Path) -> list[FoundRun]:
    """The runs of this machine, the newest first.

    Args:
        directory: the directory of the journals.
    """
    paths = journals(directory) if directory.is_dir() else []
    found = {run.run_id: run for run in map(of_journal, paths)}
    for address in published():
        if address.run_id not in found:
            found[address.run_id] = _of_address(address)
    return sorted(found.values(), key=lambda run: -(run.start_unix_nano or 0))


def tree(runs: list[FoundRun]) -> Iterator[tuple[int, FoundRun]]:
    """Runs in their order, each with its depth below its parent, which comes before it."""
    ids = {run.run_id for run in runs}
    of_parent: dict[str | None, list[FoundRun]] = {}
    for run in runs:
        of_parent.setdefault(run.parent_run_id if run.parent_run_id in ids else None, []).append(run)

    def below(parent: str | None, depth: int) -> Iterator[tuple[int, FoundRun]]:
        for run in of_parent.pop(parent, ()):
            yield depth, run
            yield from below(run.run_id, depth + 1)

    yield from below(None, 0)


def of_journal(path: Path) -> FoundRun:
    """The run that a journal is of."""
    notice = read_notice(path)
    files = len(entry_names(path.with_suffix(SPOOL_SUFFIX)))
    if notice is None:
        # It was written by an older version, or its relay has just begun.
        has_relay = is_open(path)
        state = RunState.WAITING if has_relay is False else RunState.UNKNOWN
        return FoundRun(path.name.removesuffix(SUFFIX), state, has_relay, journal=path, files=files)
    has_relay = is_alive(*notice.relay) if notice.host == platform.node() else is_open(path) or None
    return FoundRun(
        notice.run_id,
        state_of(notice, has_relay=has_relay),
        has_relay,
        notice.run_name,
        notice.project,
        notice.parent_run_id,
        notice.backends,
        notice.accounts,
        path,
        files,
        notice,
    )


def state_of(notice: Notice, *, has_relay: bool | None) -> RunState:
    """Where a run is in its life.

    Args:
        notice: what its relay has told.
        has_relay: whether that relay is alive; None where it is not known.
    """
    if notice.is_over:
        return RunState.ENDED if notice.is_complete else RunState.WAITING
    if has_relay:
        return RunState.ENDING if notice.has_ended else RunState.RUNNING
    if has_relay is None:
        return RunState.UNKNOWN
    # A training starts its relay again when it has something to send.
    owner = notice.owner
    return RunState.RUNNING if owner is not None and is_alive(*owner) else RunState.WAITING


def how_it_ended(notice: Notice) -> str:
    """The outcome of a run that has ended, in words."""
    if notice.outcome in semconv.OUTCOMES:
        return str(notice.outcome)
    return "killed, or it did not say how it ended"


def _of_address(address: RunAddress) -> FoundRun:
    """A run that a process of this machine has, whose journal is not in the directory."""
    known = Address(address.endpoint, address.token)
    status: Status | None = fetch_status(known, address.run_id, _TIMEOUT_S) if address.endpoint else None
    journal = None if status is None else Path(status.journal)
    if journal is None or not journal.exists():
        journal = None
    elif (found := of_journal(journal)).notice is not None:
        return found
    backends = address.settings.get("backend")
    return FoundRun(
        address.run_id,
        RunState.RUNNING,
        None if status is None else True,
        address.run_name,
        address.project,
        backends=None if backends is None else tuple(backends),
        accounts={} if status is None else status.accounts,
        journal=journal,
    )
