"""What an instrumentation has to say where processes of other ranks may be started."""

from __future__ import annotations

from typing import Any, Protocol


class Launching(Protocol):
    """Makes this run known to the processes of other ranks."""

    def begin(self, training: int) -> None:
        """A training begins, which may start processes that inherit the environment.

        Args:
            training: its number in this process.
        """
        ...

    def end(self) -> None:
        """The training has ended: who starts now is no rank of ours."""
        ...

    @property
    def in_process(self) -> InStartedProcess | None:
        """What a process that got a copy of this one's objects has to do; None where nothing is to be done."""
        ...


class InStartedProcess(Protocol):
    """Can be pickled, and be called in another process."""

    def __call__(self, trainer: Any, callback: Any) -> None:
        """This process is a rank: record what it trains.

        Args:
            trainer: the copy of the trainer.
            callback: the copy of the callback that came with it.
        """
        ...


class NoLaunching:
    """Nobody is told: the processes of other ranks record nothing, or find the run by themselves."""

    def begin(self, training: int) -> None:
        """See `Launching.begin`."""

    def end(self) -> None:
        """See `Launching.end`."""

    @property
    def in_process(self) -> None:
        """See `Launching.in_process`."""
        return None
