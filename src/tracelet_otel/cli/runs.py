"""What `tracelet-otel runs` prints. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, Final

from tracelet_otel.cli.found import FoundRun, RunState, how_it_ended, tree
from tracelet_otel.cli.words import printable, short_id
from tracelet_otel.doctor.quantities import age
from tracelet_otel.protocol.run_identity import to_text

NONE: Final = "no run goes on here, and none waits in a journal"
_HEAD: Final = ("NAME", "ID", "STATE", "SINCE", "PROJECT", "READINGS")
_UNKNOWN: Final = "not known"


def as_json(found: list[FoundRun]) -> str:
    """Runs for programs."""
    return json.dumps({"runs": [_plain(run) for _, run in tree(found)]}, indent=2)


def as_text(found: list[FoundRun], now_s: float) -> str:
    """Runs for people; the time in seconds since the epoch."""
    if not found:
        return NONE
    rows = [(*_cells(depth, run, now_s), _below(depth, run)) for depth, run in tree(found)]
    widths = [max(len(row[column]) for row in [_HEAD, *rows]) for column in range(len(_HEAD))]
    lines = ["  ".join(map(str.ljust, _HEAD, widths)).rstrip()]
    for *cells, below in rows:
        lines += ["  ".join(map(str.ljust, cells, widths)).rstrip(), *([below] if below else [])]
    return "\n".join(lines)


def _cells(depth: int, run: FoundRun, now_s: float) -> tuple[str, str, str, str, str, str]:
    name = _UNKNOWN if run.name is None else printable(run.name)
    since = _UNKNOWN if run.start_unix_nano is None else age(max(now_s - run.start_unix_nano / 1e9, 0))
    project = _UNKNOWN if run.project is None else printable(run.project)
    return "  " * depth + name, short_id(run.run_id), _state(run), since, project, readings(run)


def _state(run: FoundRun) -> str:
    if run.state is RunState.UNKNOWN and run.notice is not None:
        return f"unknown, on {printable(run.notice.host)}"
    if run.state is RunState.ENDED and run.notice is not None:
        return how_it_ended(run.notice)
    is_alone = run.state is RunState.RUNNING and run.has_relay is False
    return f"{run.state.value}, relay gone" if is_alone else run.state.value


def readings(run: FoundRun) -> str:
    """How many readings each backend has, and how many wait, in words."""
    if run.backends is None:
        return _UNKNOWN
    parts = []
    for name in run.backends:
        account = run.accounts.get(name)
        if account is None:
            parts.append(f"{name}: {_UNKNOWN}")
        else:
            refused = f", {account.refused:,} refused" if account.refused else ""
            parts.append(f"{name}: {account.delivered:,} delivered, {account.pending:,} wait{refused}")
    files = f"; {run.files} files wait" if run.files else ""
    return "; ".join(parts) + files


def _below(depth: int, run: FoundRun) -> str:
    """A line that says where the journal is, and what to do with it."""
    if run.journal is None:
        return "  " * depth + "  its journal is not on this machine, or its process delivers without one"
    if run.state is RunState.WAITING:
        return "  " * depth + f"  tracelet-otel replay {run.journal}"
    return "  " * depth + f"  {run.journal}"


def _plain(run: FoundRun) -> dict[str, Any]:
    notice = run.notice
    end = None if notice is None else notice.end_unix_nano
    return {
        "id": run.run_id,
        "name": run.name,
        "project": run.project,
        "parent_id": run.parent_run_id,
        "state": run.state.value,
        "has_relay": run.has_relay,
        "outcome": None if notice is None else notice.outcome,
        "start": None if run.start_unix_nano is None else to_text(run.start_unix_nano),
        "end": None if end is None else to_text(end),
        "backends": None if run.backends is None else {name: _account(run, name) for name in run.backends},
        "urls": {} if notice is None else dict(notice.urls),
        "files": run.files,
        "journal": None if run.journal is None else str(run.journal),
        "told": None if notice is None else to_text(notice.told_unix_nano),
    }


def _account(run: FoundRun, name: str) -> dict[str, Any] | None:
    account = run.accounts.get(name)
    return None if account is None else asdict(account)
