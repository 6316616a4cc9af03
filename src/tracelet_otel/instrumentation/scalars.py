"""Converts logged values, most of which are tensors, to numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

_STEPS: Final = 2**63
_PLAIN: Final = frozenset((float, int, bool))


def as_floats(values: Iterable[Any]) -> list[float] | None:
    """Convert all values of a row at once; None where one of them needs `as_float` or is not a number."""
    try:
        # `ndim` is checked so that an array which is no scalar is not converted to a list before it is refused.
        numbers = [value if type(value) in _PLAIN or value.ndim != 0 else value.tolist() for value in values]
        return list(map(float, numbers)) if _PLAIN.issuperset(map(type, numbers)) else None
    except Exception:
        return None


def as_float(value: Any) -> float:
    """Convert one value.

    Raises:
        TypeError: it is text.
        Exception: it is not a single number; what its type raises.
    """
    number = _scalar(value)
    if isinstance(number, (str, bytes)):
        raise TypeError(f"{value!r} is text, not a number")
    return float(number)


def as_step(value: Any) -> int:
    """Convert a step.

    Raises:
        OverflowError: it does not fit a signed 64-bit integer.
        Exception: it is not a number; what its type raises.
    """
    step = int(_scalar(value))
    if not -_STEPS <= step < _STEPS:
        raise OverflowError(f"{step} is no 64-bit number")
    return step


def snapshot(value: Any) -> Any:
    """Copy a tensor or array, which the user may change in place later; return any other value as it is."""
    if hasattr(value, "detach"):
        return value.detach().clone()
    return value.copy() if hasattr(value, "__array__") and hasattr(value, "copy") else value


def _scalar(value: Any) -> Any:
    # Not `float`: it warns about a tensor that requires a gradient. Not `item` where `tolist` gives the number: `item`
    # of a masked value returns what the mask hides. It also releases the interpreter's lock for each value, and takes
    # it from the training again; `tolist` does so only where it waits for a device.
    to_number = getattr(value, "tolist" if getattr(value, "ndim", None) == 0 else "item", None)
    return to_number() if callable(to_number) else value
