"""Words of the command line. Pure."""

from __future__ import annotations

from typing import Final

_SHORT: Final = 8
_LONG: Final = 12
"""Ids that are not longer are shown as they are: somebody has chosen them."""


def short_id(run_id: str) -> str:
    """The beginning of a run's id, which `tail` takes in its place."""
    return run_id if len(run_id) <= _LONG else run_id[:_SHORT]


def printable(text: str) -> str:
    """A text of a run without what would move a terminal's cursor."""
    return "".join(one if one.isprintable() else "?" for one in text)
