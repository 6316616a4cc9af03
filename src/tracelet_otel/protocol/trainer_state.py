"""How far a trainer is, as its process reports it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tracelet_otel import semconv


class TrainerState(NamedTuple):
    """How far a trainer is."""

    step: int
    epoch: int | None
    share: float | None
    """Share of its steps, epochs or time that it has done; None where it has no limit."""
    remaining_s: float | None
    """Seconds that it still takes at its pace so far; None where that is not known, or it has ended."""


def trainer_state(numbers: Mapping[str, float]) -> TrainerState | None:
    """How far a trainer is, from the metrics of its run by name; None where its step is not among them."""
    step, epoch = numbers.get(semconv.GLOBAL_STEP), numbers.get(semconv.TRAINER_EPOCH)
    if step is None:
        return None
    share, remaining_s = numbers.get(semconv.TRAINER_PROGRESS), numbers.get(semconv.TRAINER_TIME_REMAINING)
    return TrainerState(int(step), None if epoch is None else int(epoch), share, remaining_s)
