"""What people see of a run while it is recorded: one line when it begins, what it waits for, and a table at its end.

It goes to standard error, or to a card in a notebook. On a terminal a line that says what is waited for is written
over and over; in a file or a pipe there are only plain lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from tracelet_otel._support.guard import Guard
from tracelet_otel.session.screen.live_line import LiveLine
from tracelet_otel.session.screen.notebook import NotebookCard, notebook
from tracelet_otel.session.screen.text import RunBegun, RunEnded, begin_text, end_text

__all__ = ["RunBegun", "RunEnded", "RunScreen"]


class RunScreen:
    """What one process shows of one run.

    Args:
        is_quiet: whether nothing is shown: the user wants that, or another process or run shows it.
        guard: where errors are reported.
    """

    def __init__(self, *, is_quiet: bool, guard: Guard) -> None:
        self._is_quiet = is_quiet
        self._guard = guard
        self._line = LiveLine()
        self._begun: RunBegun | None = None
        self._card: NotebookCard | None = None

    @property
    def is_shown(self) -> bool:
        """Whether the beginning was shown, and the end was not yet."""
        return self._begun is not None

    @property
    def is_shown_here(self) -> bool:
        """Whether the cell of a notebook that runs now has the run's card already."""
        return self._card is not None and self._card.is_of_this_cell

    @contextmanager
    def opening(self, backends: Sequence[str]) -> Iterator[None]:
        """Say what is waited for where the block, which opens the run, takes long; only on a terminal.

        Args:
            backends: what is waited for.
        """
        if self._is_quiet or notebook() is not None:
            yield
            return
        with self._line.spinning(f"tracelet: starting, waiting for {', '.join(backends)}"):
            yield

    def begin(self, begun: RunBegun, progress: Callable[[], Mapping[str, str]]) -> None:
        """Say that the run is recorded, and where to look.

        Args:
            begun: what is known of it.
            progress: returns what a notebook's card shows while the run goes on, by name. Called on another thread.
        """
        if self._is_quiet:
            return
        self._begun = begun
        try:
            shell = notebook()
            if shell is None:
                self._line.say(begin_text(begun))
            else:
                self._card = NotebookCard(shell, begun, progress, self._guard)
        except Exception as error:
            self._guard.report("the run's beginning could not be shown", error)

    def wait(self, text: str) -> None:
        """Say what the end of the run waits for.

        Args:
            text: without `tracelet:` before it.
        """
        if self._begun is not None and self._card is None:
            self._line.show(f"tracelet: {text}")

    def end(self, ended: RunEnded) -> None:
        """Say how the run ended. Does nothing where its beginning was not shown."""
        begun, self._begun = self._begun, None
        if begun is None:
            return
        try:
            self._line.clear()
            if self._card is None:
                self._line.say(end_text(begun, ended))
            else:
                self._card.end(ended)
        except Exception as error:
            self._guard.report("the run's end could not be shown", error)
