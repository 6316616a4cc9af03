"""Makes checks side by side, each on a thread of its own and for a bounded time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

_T = TypeVar("_T")


@dataclass
class Begun(Generic[_T]):
    """A call that runs on a thread of its own. One that hangs does not keep the process from ending.

    Args:
        call: what is called.
        late: what counts as its result where it takes longer than it may.
        failed: makes the result where it raises.
        patience_s: how long it may take, in seconds.
    """

    call: Callable[[], _T]
    late: _T
    failed: Callable[[Exception], _T]
    patience_s: float
    _results: list[_T] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._deadline_s = time.monotonic() + self.patience_s
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def result(self) -> _T:
        """The result, once it is there or may be waited for no longer."""
        self._thread.join(max(self._deadline_s - time.monotonic(), 0))
        return self._results[0] if self._results else self.late

    def _run(self) -> None:
        try:
            result = self.call()
        except Exception as error:
            result = self.failed(error)
        self._results.append(result)
