"""How many samples a batch has. Pure, and without torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def samples_in(batch: Any) -> int | None:
    """The number of samples in a batch: the first dimension of its first tensor or array, as Lightning takes it too.

    Args:
        batch: what a DataLoader yields: a tensor, or lists, tuples and mappings of them, in each other.

    Returns:
        None where there is no such tensor, as in a batch of a type of the user's own.
    """
    shape = getattr(batch, "shape", None)
    if shape:
        return int(shape[0])
    parts: Iterable[Any] = ()
    if isinstance(batch, (list, tuple)):
        parts = batch
    elif isinstance(batch, Mapping):
        parts = batch.values()
    for part in parts:
        found = samples_in(part)
        if found is not None:
            return found
    return None
