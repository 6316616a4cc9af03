"""Takes notice when a process that a recorded one has started imports Lightning, since it may train then.

Each interpreter that such a process starts pays for this module, also those that train nothing. So it imports little.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from tracelet_otel._support.environment import is_rank_of_recorder

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

LIGHTNING: Final = ("lightning", "pytorch_lightning")
"""The names under which Lightning is imported. `private_names` has the packages in them, and takes long to import."""


def watch(take_up: Callable[[], None]) -> None:
    """Take notice when this process, which a recorded one has started, imports Lightning, and is no rank.

    Args:
        take_up: called when it does. An error in it is reported and does not reach the import.
    """
    if is_rank_of_recorder():
        # It runs the same script, which begins the run, and works for that in no other way.
        return
    if any(name in sys.modules for name in LIGHTNING):
        _await(take_up)
    else:
        sys.meta_path.insert(0, _BeforeLightning(take_up))


class _BeforeLightning:
    """A finder of modules that finds none, and notices when Lightning is looked for the first time."""

    def __init__(self, take_up: Callable[[], None]) -> None:
        self._take_up = take_up

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """None. Lightning itself is found by those finders that there are then."""
        if name not in LIGHTNING:
            return None
        with suppress(ValueError):  # another thread was first
            sys.meta_path.remove(self)
        _await(self._take_up)
        # The search that is going on would not ask a finder that was added meanwhile.
        return find_spec(name)


def _await(take_up: Callable[[], None]) -> None:
    """Have it called as soon as one of Lightning's packages has been imported completely."""

    def take_up_guarded(_: object = None) -> None:
        try:
            take_up()
        except Exception as error:
            _report(error)

    try:
        from wrapt import register_post_import_hook

        from tracelet_otel._support import private_names

        for package in private_names.LIGHTNING.packages:
            if package in sys.modules:
                take_up_guarded()
            else:
                register_post_import_hook(take_up_guarded, package)
    except Exception as error:
        _report(error)


def _report(error: Exception) -> None:
    from tracelet_otel._support.guard import Guard

    Guard().report("what this process trains is not recorded", error)
