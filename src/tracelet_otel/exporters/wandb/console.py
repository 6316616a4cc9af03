"""Writes to W&B what ranks have printed: to the run's own console, and at the end as a file."""

from __future__ import annotations

from pathlib import Path

from tracelet_otel.exporters.wandb.history import RunHistory
from tracelet_otel.exporters.wandb.shared import SharesRun
from tracelet_otel.protocol.console import rank_of, read_lines, shown, was_begun
from tracelet_otel.protocol.files import RunFile

_TRACKER = "wandb"


def write_console(shared: SharesRun, file: RunFile, content: Path) -> None:
    """Write lines of a rank to the console of a run, and wait until they are in W&B's file.

    Args:
        shared: the run.
        file: an entry with lines.
        content: its content.
    """
    lines = read_lines(content)
    if not lines:
        return
    rank = rank_of(file.name)
    text = "".join(f"{shown(one, rank)}\n" for one in lines)
    may_be_there = was_begun(content, _TRACKER)

    def write(history: RunHistory) -> None:
        history.add_output(run, text, may_be_there=may_be_there)

    run = shared.begun()
    shared.alone(run, write)
