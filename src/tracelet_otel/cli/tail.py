"""Shows a run in the terminal until it ends, for `tracelet-otel tail`."""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

import click

from tracelet_otel.cli.found import FoundRun, RunState, of_journal
from tracelet_otel.cli.picture import end_line, picture
from tracelet_otel.cli.runs import NONE
from tracelet_otel.cli.words import printable, short_id
from tracelet_otel.errors import ConfigurationError
from tracelet_otel.protocol.notice import NOTICE_SUFFIX, Notice
from tracelet_otel.relay.notice import NoticeFile

_TERMINAL_S: Final = 1.0
_PIPE_S: Final = 10.0
_BEGIN_S: Final = 10.0
_PAUSE_S: Final = 0.1
_ROOM: Final = 10
"""Lines of a terminal that are not for metrics."""
_OVER: Final = (RunState.ENDED, RunState.WAITING)


def chosen(found: list[FoundRun], wanted: str | None) -> FoundRun:
    """The run that a user means.

    Args:
        found: all runs, the newest first.
        wanted: its name, its id, or the beginning of one; None for the one that runs.

    Raises:
        ConfigurationError: there is none, or there are several.
    """
    if not found:
        raise ConfigurationError(NONE)
    if wanted is None:
        told = [run for run in found if run.notice is not None] or found
        # Runs of workers begin after that of their script, which is the one that is meant.
        own = [run for run in told if run.parent_run_id is None] or told
        return next((run for run in own if run.state is RunState.RUNNING), own[0])
    for fits in (
        [run for run in found if run.run_id == wanted],
        [run for run in found if run.name == wanted],
        [run for run in found if run.run_id.startswith(wanted) or (run.name or "").startswith(wanted)],
    ):
        if len(fits) == 1:
            return fits[0]
        if fits:
            names = ", ".join(f"{printable(run.name or 'not known')} ({short_id(run.run_id)})" for run in fits)
            raise ConfigurationError(f"{wanted!r} may be one of several runs: {names}")
    raise ConfigurationError(f"there is no run {wanted!r}; `tracelet-otel runs` shows those that there are")


def follow(run: FoundRun, every_s: float | None, *, once: bool, with_system: bool) -> None:
    """Show a run again and again, until it has ended.

    Args:
        run: the run.
        every_s: seconds between two looks; None for what suits a terminal or a pipe.
        once: whether to show it once only.
        with_system: whether to show what was measured on GPU and host, too.

    Raises:
        ConfigurationError: nothing is known of its values here.
    """
    journal = run.journal
    if journal is None:
        raise ConfigurationError("its relay is on another machine, or it has none: nothing is known of its values here")
    file = _opened(journal, wait_s=_BEGIN_S if run.has_relay else 0)
    on_terminal = sys.stdout.isatty()
    interval_s = every_s or (_TERMINAL_S if on_terminal else _PIPE_S)
    screen = Blocks(is_terminal=on_terminal and not once)
    with file:
        while True:
            is_removed = file.is_removed
            notice = file.read()
            if notice is None:
                raise ConfigurationError(f"{journal.with_suffix(NOTICE_SUFFIX)} cannot be read")
            now = _seen(run, notice, is_removed=is_removed)
            is_over = now.state in _OVER
            size = shutil.get_terminal_size()
            most = max(size.lines - _ROOM, 1) if screen.is_terminal else None
            shown = picture(now, notice, time.time(), with_system=with_system, most=most)
            screen.show(f"{shown}\n{end_line(now, notice)}" if is_over else shown, size.columns)
            if is_over or once:
                return
            _wait(file, interval_s)


def _opened(journal: Path, wait_s: float) -> NoticeFile:
    """The notice of a run; a relay that has just begun is given so many seconds to write it.

    Raises:
        ConfigurationError: there is none.
    """
    deadline_s = time.monotonic() + wait_s
    while True:
        try:
            return NoticeFile(journal.with_suffix(NOTICE_SUFFIX))
        except OSError:
            if time.monotonic() >= deadline_s:
                raise ConfigurationError(f"nothing is known of its values: no relay of today's has {journal}") from None
        time.sleep(_PAUSE_S)


def _wait(file: NoticeFile, interval_s: float) -> None:
    """Wait until the next look is due, or the run is over and nothing is left of it."""
    deadline_s = time.monotonic() + interval_s
    while not file.is_removed and (left_s := deadline_s - time.monotonic()) > 0:
        time.sleep(min(left_s, _TERMINAL_S))


def _seen(run: FoundRun, notice: Notice, *, is_removed: bool) -> FoundRun:
    """The run as it is now."""
    if is_removed:
        return replace(run, state=RunState.ENDED, accounts=notice.accounts, notice=notice, files=None)
    assert run.journal is not None  # noqa: S101
    return replace(of_journal(run.journal), accounts=notice.accounts, notice=notice)


class Blocks:
    """Shows blocks of lines, on a terminal each in the place of the one before.

    Args:
        is_terminal: whether the cursor can be moved.
    """

    def __init__(self, *, is_terminal: bool) -> None:
        self.is_terminal = is_terminal
        self._lines = 0

    def show(self, text: str, columns: int) -> None:
        """Show a block.

        Args:
            text: its lines.
            columns: width of the terminal; what is longer is cut there.
        """
        if not self.is_terminal:
            click.echo(("\n" if self._lines else "") + text)
            self._lines = 1
            return
        lines = [line[: columns - 1] for line in text.splitlines()]
        up = f"\x1b[{self._lines}A" if self._lines else ""
        # What is below the cursor is cleared, as the block before may have had more lines.
        click.echo(f"{up}\r\x1b[J" + "\n".join(lines), color=True)
        self._lines = len(lines)
