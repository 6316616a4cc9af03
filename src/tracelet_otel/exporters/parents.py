"""Shows a run as the child of another one in a tracker, as soon as the tracker has that one."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from tracelet_otel import semconv

_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0


class ParentLink:
    """The link of a run to its parent, which may be in the tracker later than the run.

    No error leaves it: the run is recorded whether it is linked or not.

    Args:
        attributes: attributes of the run, which may name a parent.
        find: returns the tracker's id of a run by our id; None where it is not there. It may raise anything.
        link: stores the tracker's id of the parent. It may raise anything.
    """

    def __init__(
        self, attributes: Mapping[str, Any], find: Callable[[str], str | None], link: Callable[[str], object]
    ) -> None:
        parent = attributes.get(semconv.PARENT_RUN_ID)
        self._parent = None if parent is None else str(parent)
        self._find = find
        self._link = link
        self._pause_s = _FIRST_PAUSE_S
        self._next_s = 0.0

    def attempt(self, *, is_last: bool = False) -> None:
        """Link the run, unless it has no parent, is linked, or the last attempt was a short while ago.

        Args:
            is_last: whether there is no other attempt after this one.
        """
        if self._parent is None or (time.monotonic() < self._next_s and not is_last):
            return
        with contextlib.suppress(Exception):
            found = self._find(self._parent)
            if found is not None:
                self._link(found)
                self._parent = None
        self._next_s = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
