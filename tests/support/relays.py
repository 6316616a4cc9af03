"""Relays that run on this machine."""

from __future__ import annotations

from pathlib import Path

import psutil


def relays(directory: Path) -> list[psutil.Process]:
    """Relays that have this working directory."""
    found = []
    for process in psutil.process_iter():
        try:
            # One link tells most processes apart from those that are looked for.
            if Path(f"/proc/{process.pid}/cwd").readlink() != directory:
                continue
            is_relay = process.name() == "tracelet-relay" or "tracelet_otel.relay" in process.cmdline()
            if is_relay and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def ended_clean(directory: Path) -> bool:
    """Whether no relay runs in this directory, and none has left a journal or a log."""
    return not relays(directory) and not list((directory / "journals").iterdir())
