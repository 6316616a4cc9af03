"""Methods of single objects, such as a trainer's, that are replaced as long as a training goes on."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any, Generic, TypeVar

_Noted = TypeVar("_Noted")


class Replacement(Generic[_Noted]):
    """Stands in the place of a method. In a copy of the method's object, as of a pickled trainer, it is the method."""

    def __init__(self, method: Any, noted: _Noted) -> None:
        self._method = method
        self._noted = noted

    def __reduce__(self) -> tuple[Any, ...]:
        return MethodType, (self._method.__func__, self._method.__self__)


class Replaced:
    """The methods that were replaced. Only attributes of the objects are set, so their classes stay as they are."""

    def __init__(self) -> None:
        self._put: list[tuple[Any, str, Any]] = []

    def replace(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Put something in the place of a method, unless the object has an attribute of that name of its own.

        Args:
            owner: the object.
            name: name of the method.
            make: takes the method and returns what is put in its place.
        """
        if name not in vars(owner):
            ours = make(getattr(owner, name))
            setattr(owner, name, ours)
            self._put.append((owner, name, ours))

    def undo(self) -> None:
        """Take away what was put there, but nothing that somebody else has put in its place since."""
        for owner, name, ours in self._put:
            if vars(owner).get(name) is ours:
                delattr(owner, name)
        self._put.clear()
