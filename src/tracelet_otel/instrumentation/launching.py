"""How an instrumentation announces a run to the processes of other ranks that a training may start."""

from __future__ import annotations

from typing import Any, Protocol


class Launching(Protocol):
    """Makes this run known to the processes of other ranks."""

    def begin(self, training: int) -> None:
        """A training begins, which may start processes that inherit this one's environment.

        Args:
            training: its number in this process.
        """
        ...

    def end(self) -> None:
        """The training has ended: a process that starts from now on is not one of its ranks."""
        ...

    @property
    def place(self) -> str:
        """Text by which a process that works for this one finds the run; empty where none does."""
        ...

    @property
    def in_process(self) -> InStartedProcess | None:
        """What a process that is started with a copy of this one's objects has to call; None for nothing."""
        ...


class InStartedProcess(Protocol):
    """A function that is pickled here and called in a process that this one has started."""

    def __call__(self, trainer: Any, callback: Any) -> None:
        """Record what this process trains: it is a rank.

        Args:
            trainer: the copy of the trainer.
            callback: the copy of the callback that came with it.
        """
        ...


class NoLaunching:
    """A `Launching` that announces nothing: other ranks record nothing, or find the run by themselves."""

    def begin(self, training: int) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""

    @property
    def place(self) -> str:
        """Empty: nobody finds the run."""
        return ""

    @property
    def in_process(self) -> None:
        """None: a started process has nothing to call."""
        return None
