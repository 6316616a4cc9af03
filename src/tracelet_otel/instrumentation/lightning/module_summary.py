"""A summary of a module as text: its parts, with their types and numbers of parameters.

Lightning's own `ModelSummary` is not used: it puts hooks on each part, may warn, and runs the module where that has an
example input. Here names and sizes are read, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tracelet_otel._support.private_names import SHARDING

_MOST_PARTS: Final = 20_000
"""A module with more parts has no summary, since to list them takes time from the training."""
_HEAD: Final = ("Name", "Type", "Parameters", "Trainable", "Mode")
_NUMBERS: Final = (2, 3)
"""Places of the columns that have numbers."""
_UNKNOWN: Final = "?"


@dataclass(frozen=True, slots=True)
class ModulePart:
    """A module in a module."""

    name: str
    """With dots, as torch names it; empty for the whole."""
    kind: str
    """Name of its class."""
    is_training: bool
    sizes: Mapping[int, int | None]
    """By identity, the size of each parameter that it has itself; None for one that has none before the first batch."""
    trained: frozenset[int]
    """Those of them that are trained."""


def parts_of(trainer: Any) -> list[ModulePart] | None:
    """Read the parts of a trainer's module. This is done on the thread that trains, before the first batch.

    Args:
        trainer: the trainer, with its strategy set up.

    Returns:
        None where a process has a part of each parameter only, or there are too many parts.
    """
    if any(base.__name__ in SHARDING for base in type(trainer.strategy).__mro__):
        return None
    found: list[ModulePart] = []
    for name, module in trainer.lightning_module.named_modules():
        if len(found) == _MOST_PARTS:
            return None
        own = list(module.parameters(recurse=False))
        sizes = {id(one): None if hasattr(one, "materialize") else one.numel() for one in own}
        trained = frozenset(id(one) for one in own if one.requires_grad)
        found.append(ModulePart(name, type(module).__name__, module.training, sizes, trained))
    return found


def summary_of(parts: Iterable[ModulePart]) -> str:
    """The table of parts; pure. A parameter that several parts share is counted once in each that has them.

    Args:
        parts: the whole module first, as `parts_of` returns them.
    """
    whole, *inner = parts
    sizes: dict[str, dict[int, int | None]] = {}
    trained: set[int] = set()
    for part in (whole, *inner):
        trained |= part.trained
        for name in _with_outer(part.name):
            sizes.setdefault(name, {}).update(part.sizes)
    rows = [
        (part.name, part.kind, *_counted(sizes[part.name], trained), "train" if part.is_training else "eval")
        for part in inner
    ]
    total, trainable = _counted(sizes[""], trained)
    lines = _table([_HEAD, *rows])
    return "\n".join([f"{whole.kind}: {total} parameters, {trainable} of them trainable", "", *lines, ""])


def _with_outer(name: str) -> Iterable[str]:
    """Names of a part and of all that it is in."""
    yield name
    while name:
        name = name.rpartition(".")[0]
        yield name


def _counted(sizes: Mapping[int, int | None], trained: set[int]) -> tuple[str, str]:
    """How many numbers parameters have, and how many of them are trained."""
    return _sum(sizes.values()), _sum(size for key, size in sizes.items() if key in trained)


def _sum(sizes: Iterable[int | None]) -> str:
    found = list(sizes)
    return _UNKNOWN if None in found else f"{sum(one for one in found if one is not None):,}"


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(_HEAD))]
    lines = [
        "  ".join(
            cell.rjust(width) if place in _NUMBERS else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]
