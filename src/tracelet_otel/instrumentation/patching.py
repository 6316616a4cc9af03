"""Replacing a function of somebody's class, and putting the original back."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any, Final

_DEEPEST: Final = 100


class Patch:
    """A replaced attribute of a class or module.

    Args:
        owner: the class or module.
        name: the attribute to replace.
        make_wrapper: gets the original function, returns the one to put in its place.

    Raises:
        TypeError: what is there is no plain function. A mock, a partial or a static method is called without the
            instance, and a function in its place would be called with it: such a thing is left alone.
    """

    def __init__(self, owner: Any, name: str, make_wrapper: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        self._owner = owner
        self._name = name
        found = inspect.getattr_static(owner, name)
        # A mock may say that it is a function, but does not bind as one.
        if not isinstance(found, FunctionType) or not hasattr(type(found), "__get__"):
            raise TypeError(f"{name} of {owner!r} is no plain function")
        self._inherited = name not in vars(owner)
        self._original = getattr(owner, name)
        self._wrapper = make_wrapper(self._original)
        setattr(owner, name, self._wrapper)

    @property
    def is_in_place(self) -> bool:
        """Whether a call still comes by: ours is there, or what is there wraps ours."""
        current = vars(self._owner).get(self._name)
        for _ in range(_DEEPEST):
            if current is self._wrapper:
                return True
            current = getattr(current, "__wrapped__", None)
        return False

    def undo(self) -> bool:
        """Put the original back.

        Returns:
            False where somebody has wrapped our wrapper since: then nothing is touched, and the
            wrapper has to pass calls through by itself.
        """
        if vars(self._owner).get(self._name) is not self._wrapper:
            return False
        if self._inherited:
            delattr(self._owner, self._name)
        else:
            setattr(self._owner, self._name, self._original)
        return True
