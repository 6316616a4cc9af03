"""Replaces a function of another library's class, and puts the original back."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any, Final

_DEEPEST: Final = 100
"""Most wrappers that are looked through."""


def is_defined_in(function: Callable[..., Any], module: str) -> bool:
    """Whether a function is itself defined in a module, given by the end of its name."""
    # A wrapper may copy the names of what it wraps, but its globals are those of another module.
    return str(getattr(function, "__globals__", {}).get("__name__")).endswith(f".{module}")


class Patch:
    """A replaced attribute of a class or module.

    Args:
        owner: the class or module.
        name: the attribute to replace.
        make_wrapper: takes the original function and returns the one to put in its place.

    Raises:
        TypeError: the attribute is not a plain function. A mock, a partial or a static method is called without the
            instance, but a function put in its place would be called with it. So it is left alone.
    """

    def __init__(self, owner: Any, name: str, make_wrapper: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        self._owner = owner
        self._name = name
        found = inspect.getattr_static(owner, name)
        # A mock may pass for a function in `isinstance`, but is not bound to an instance as one is.
        if not isinstance(found, FunctionType) or not hasattr(type(found), "__get__"):
            raise TypeError(f"{name} of {owner!r} is no plain function")
        self._inherited = name not in vars(owner)
        self._original = getattr(owner, name)
        self._wrapper = make_wrapper(self._original)
        setattr(owner, name, self._wrapper)

    @property
    def is_in_place(self) -> bool:
        """Whether calls still reach our wrapper: it is the attribute, or what is there wraps it."""
        current = vars(self._owner).get(self._name)
        for _ in range(_DEEPEST):
            if current is self._wrapper:
                return True
            current = getattr(current, "__wrapped__", None)
        return False

    def undo(self) -> bool:
        """Put the original back.

        Returns:
            False where somebody has replaced or wrapped our wrapper since. Then nothing is changed, and the wrapper
            itself has to pass calls through.
        """
        if vars(self._owner).get(self._name) is not self._wrapper:
            return False
        if self._inherited:
            delattr(self._owner, self._name)
        else:
            setattr(self._owner, self._name, self._original)
        return True
