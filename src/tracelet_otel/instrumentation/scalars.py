"""Values as they are logged, tensors for the most part, as numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

_STEPS: Final = 2**63
_PLAIN: Final = frozenset((float, int, bool))


def as_floats(values: Iterable[Any]) -> list[float] | None:
    """All values of a row at once; None where one of them needs `as_float`, or is no number."""
    try:
        # The look at `ndim` spares an array that is no scalar from becoming a list before it is refused.
        numbers = [value if type(value) in _PLAIN or value.ndim != 0 else value.tolist() for value in values]
        return list(map(float, numbers)) if _PLAIN.issuperset(map(type, numbers)) else None
    except Exception:
        return None


def as_float(value: Any) -> float:
    """One value.

    Raises:
        Exception: it is no number, or not one alone; what its type raises.
    """
    number = _scalar(value)
    if isinstance(number, (str, bytes)):
        raise TypeError(f"{value!r} is text, not a number")
    return float(number)


def as_step(value: Any) -> int:
    """A step.

    Raises:
        OverflowError: it is no 64-bit number.
        Exception: it is no number; what its type raises.
    """
    step = int(_scalar(value))
    if not -_STEPS <= step < _STEPS:
        raise OverflowError(f"{step} is no 64-bit number")
    return step


def snapshot(value: Any) -> Any:
    """A value that stays as it is: a user may change a tensor or array in place before it is converted."""
    if hasattr(value, "detach"):
        return value.detach().clone()
    return value.copy() if hasattr(value, "__array__") and hasattr(value, "copy") else value


def _scalar(value: Any) -> Any:
    # `float` would warn of a tensor that requires a gradient, and `item` of a masked value is what the mask hides. It
    # also lets go of the interpreter's lock for each value, and takes it from the training again; `tolist` does so only
    # where it waits for a device.
    to_number = getattr(value, "tolist" if getattr(value, "ndim", None) == 0 else "item", None)
    return to_number() if callable(to_number) else value
