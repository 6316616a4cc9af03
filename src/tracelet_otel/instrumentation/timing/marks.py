"""Moments of a training that its thread notes among the actions, each with what has to be known of it."""

from __future__ import annotations


class Mark:
    """A moment. Its time follows it in the queue and is negative, as that of an action's end."""

    __slots__ = ()


class EpochBegins(Mark):
    """An epoch of a training begins, and so does its first step."""

    __slots__ = ()


class BatchEnds(Mark):
    """A batch has been trained with. That is the end of a step.

    Args:
        samples: how many samples it had; None where that is not known.
    """

    __slots__ = ("samples",)

    def __init__(self, samples: int | None) -> None:
        self.samples = samples


class RowLogged(Mark):
    """A row of metrics has been logged in a training.

    Args:
        step: the trainer's step.
    """

    __slots__ = ("step", "values")

    def __init__(self, step: int) -> None:
        self.step = step
        self.values: dict[str, float] | None = None
        """What the time went to since an earlier row, by metric name; empty for most rows of a long training. None
        until that is summed."""
