"""Quantities in words. Pure."""

from __future__ import annotations

from typing import Final

_UNKNOWN: Final = "unknown"
_SPANS: Final = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))
_SIZES: Final = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def age(seconds: float | None) -> str:
    """A time in seconds, in the largest unit of which there are two at least; None where it is not known."""
    if seconds is None:
        return _UNKNOWN
    return next((f"{seconds / unit:.0f} {name}" for unit, name in _SPANS if seconds >= 2 * unit), f"{seconds:.0f} s")


def size(number: int | None) -> str:
    """A number of bytes; None where it is not known."""
    if number is None:
        return _UNKNOWN
    return next((f"{number / unit:.1f} {name}" for unit, name in _SIZES if number >= unit), f"{number} B")
