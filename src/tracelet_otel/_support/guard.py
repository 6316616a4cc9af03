"""Where an error of ours ends: logged once, counted, never raised into training."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

UNDELIVERED: Final = "values were not delivered"
"""The place at which each value counts that got nowhere."""

_all: Final[WeakSet[Guard]] = WeakSet()


if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    _Adapter = logging.LoggerAdapter  # Python 3.10 knows no parameter of it


class _Log(_Adapter):
    """The package's log. A filter or handler of the user's that raises does not reach who logs."""

    def log(self, level: int, msg: object, *args: Any, **kwargs: Any) -> None:
        """Log; what cannot be logged goes to standard error, with the reason."""
        try:
            super().log(level, msg, *args, **{"stacklevel": 2, **kwargs})
        except Exception as error:
            with suppress(Exception):
                words = str(msg) % args if args else msg
                print(f"tracelet: {words} (this could not be logged: {error!r})", file=sys.stderr)  # noqa: T201


log: Final = _Log(logging.getLogger("tracelet_otel"), {})


class Guard:
    """Keeps errors away from the caller without hiding them.

    The first error at each place is logged with its traceback; every one is counted, so the
    closing report of a run can name what happened.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal handler may report while we do
        self._counts: Counter[str] = Counter()
        _all.add(self)

    @property
    def counts(self) -> dict[str, int]:
        """How many errors ended here, by place."""
        with self._lock:
            return dict(self._counts)

    def count(self, place: str, number: int) -> None:
        """Count what went wrong for a reason that has been reported.

        Args:
            place: what could not be done, in words that a user understands.
            number: how often.
        """
        if number:
            with self._lock:
                self._counts[place] += number

    def report(self, place: str, error: BaseException | str) -> None:
        """Count an error and log the first one at `place`.

        Args:
            place: what could not be done, in words that a user understands.
            error: the exception, or the reason in words where there is none.
        """
        with self._lock:
            self._counts[place] += 1
            first = self._counts[place] == 1
        if first:
            trace = error if isinstance(error, BaseException) else None
            log.warning("%s: %s (said once, counted from now on)", place, error, exc_info=trace)


def _renew_locks() -> None:
    # A forked child has the locks of its parent, and not the threads that would open them again.
    for guard in _all:
        guard._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)
