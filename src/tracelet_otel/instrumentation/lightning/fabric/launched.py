"""What a Fabric launches, in the place of the user's function."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tracelet_otel._support.private_names import DOES_NOTHING

if TYPE_CHECKING:
    from tracelet_otel.instrumentation.launching import InStartedProcess
    from tracelet_otel.instrumentation.lightning.media_calls import KnowsHooks


class LaunchedFunction:
    """The user's function, and before it what this process has to know: its rank, and in a copy that it is one.

    Fabric calls it once its own environment is set up, so the rank is known. Where ranks start as copies of the
    process, it is pickled or copied with the Fabric.

    Args:
        function: the user's function, or what Fabric itself launches where there is none.
        fabric: the Fabric.
        source: knows where this process reports to; pickled, it is that of the other process.
        in_process: what a copy calls in another process; None for nothing.
        rows: rows that the Fabric has been handed before, after which a copy goes on counting.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        fabric: Any,
        source: KnowsHooks,
        in_process: InStartedProcess | None,
        rows: int,
    ) -> None:
        self.rows = rows
        self._function = function
        self._fabric = fabric
        self._source = source
        self._in_process = in_process
        self._pid = os.getpid()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        is_copy = os.getpid() != self._pid
        if is_copy and self._in_process is not None:
            self._in_process(self._fabric, self)
        hooks = self._source.hooks
        if hooks is None:
            return self._function(*args, **kwargs)
        if not is_copy:
            hooks.fabric.launched(self._fabric)
            return self._function(*args, **kwargs)
        try:
            result = self._function(*args, **kwargs)
        except BaseException as error:
            hooks.fabric.ended(error)
            raise
        hooks.fabric.ended(None)
        return result


def does_something(function: Callable[..., Any]) -> bool:
    """Whether a function is one of the user's, and not the one that Fabric launches where there is none."""
    return getattr(function, "__name__", "") != DOES_NOTHING
