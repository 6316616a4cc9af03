"""The card of a run in a notebook: a small piece of HTML below the cell, which is updated in place."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from tracelet_otel._support.guard import Guard
from tracelet_otel._support.text import duration
from tracelet_otel.session.card import as_card
from tracelet_otel.session.screen.text import RunBegun, RunEnded, delivered, metric_lines

_INTERVAL_S: Final = 2.0
"""Seconds between two updates."""


def notebook() -> Any | None:
    """The shell of the notebook that this code runs in; None elsewhere, as in an IPython of a terminal."""
    get_shell = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = None if get_shell is None else get_shell()
    return shell if getattr(shell, "kernel", None) is not None else None


class NotebookCard:
    """The card of one run.

    Args:
        shell: of the notebook.
        begun: what is known of the run.
        progress: returns what is shown while it goes on, by name. Called on a thread of the card.
        guard: where errors are reported.
    """

    def __init__(self, shell: Any, begun: RunBegun, progress: Callable[[], Mapping[str, str]], guard: Guard) -> None:
        self._shell = shell
        self._begun = begun
        self._progress = progress
        self._guard = guard
        self._cell = shell.execution_count
        self._last = self._html("recording", {})
        display = sys.modules["IPython.display"]
        self._html_of = display.HTML
        self._handle = display.display(self._html_of(self._last), display_id=True)
        self._has_ended = threading.Event()
        self._updating = threading.Lock()
        thread = threading.Thread(target=self._keep, name="tracelet-card", daemon=True)
        with suppress(RuntimeError):  # at exit, some interpreters start no more threads
            thread.start()

    @property
    def is_of_this_cell(self) -> bool:
        """Whether the cell that runs now is the one below which the card is."""
        return bool(self._shell.execution_count == self._cell)

    def end(self, ended: RunEnded) -> None:
        """Show how the run ended; the last update."""
        with self._updating:
            # An update that is being made must not come after this one.
            self._has_ended.set()
        figures = {name: delivered(account, ended.rows) for name, account in ended.accounts.items()}
        table = "\n".join([*metric_lines(ended.values), *ended.time_lines])
        self._update(self._html(f"{ended.outcome} after {duration(ended.took_s)}", figures, table))

    def _keep(self) -> None:
        while not self._has_ended.wait(_INTERVAL_S):
            try:
                html = self._html("recording", self._progress())
                with self._updating:
                    if not self._has_ended.is_set():
                        self._update(html)
            except Exception as error:
                self._guard.report("the card of a run is not up to date", error)
                return

    def _update(self, html: str) -> None:
        if html != self._last and self._handle is not None:
            self._last = html
            self._handle.update(self._html_of(html))

    def _html(self, state: str, figures: Mapping[str, str], table: str = "") -> str:
        begun = self._begun
        return as_card(begun.name, begun.project, begun.run_id, state, begun.places, figures, table)
