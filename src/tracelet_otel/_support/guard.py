"""Error handling of this package: an error is logged once, counted, and never raised into the training."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from tracelet_otel.errors import TraceletError

UNDELIVERED: Final = "values were not delivered"
"""The place at which every value that was not delivered is counted."""

_all: Final[WeakSet[Guard]] = WeakSet()


if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    _Adapter = logging.LoggerAdapter  # in Python 3.10 the class takes no type parameter


class _Log(_Adapter):
    """The package's logger. An exception in a filter or handler of the user does not reach the caller."""

    def log(self, level: int, msg: object, *args: Any, **kwargs: Any) -> None:
        """Log a message. If that fails, print the message and the reason to standard error."""
        try:
            super().log(level, msg, *args, **{"stacklevel": 2, **kwargs})
        except Exception as error:
            with suppress(Exception):
                words = str(msg) % args if args else msg
                print(f"tracelet: {words} (this could not be logged: {error!r})", file=sys.stderr)  # noqa: T201


class _LastResort(logging.Handler):
    """Prints warnings to standard error where nobody has configured logging, as Python's own last resort does.

    Python's prints no more than the message, so that nobody would know who says it.
    """

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__(logging.WARNING)
        self.setFormatter(logging.Formatter("tracelet: %(message)s"))
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record, unless a handler of somebody else gets it."""
        others = len(self._logger.handlers) > 1 or (self._logger.propagate and logging.getLogger().handlers)
        if not others:
            with suppress(OSError, ValueError):  # standard error may be closed, or its reader gone
                print(self.format(record), file=sys.stderr)  # noqa: T201


_logger: Final = logging.getLogger("tracelet_otel")
_logger.addHandler(_LastResort(_logger))
log: Final = _Log(_logger, {})


class Guard:
    """Keeps errors away from the caller without hiding them.

    The first error at each place is logged, with its traceback where it is none of `tracelet_otel.errors`, whose
    message says all. Every error is counted, so that the closing report of a run can name what happened.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # reentrant: a signal handler may report while this thread reports
        self._counts: Counter[str] = Counter()
        _all.add(self)

    @property
    def counts(self) -> dict[str, int]:
        """Number of errors by place."""
        with self._lock:
            return dict(self._counts)

    def count(self, place: str, number: int) -> None:
        """Count errors without logging them: their reason has been reported already.

        Args:
            place: what could not be done, in words that a user understands.
            number: number of errors.
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
            trace = error if isinstance(error, BaseException) and not isinstance(error, TraceletError) else None
            log.warning("%s: %s (said once, counted from now on)", place, error, exc_info=trace)


def _renew_locks() -> None:
    # A forked child has copies of its parent's locks, but not the threads that would release them.
    for guard in _all:
        guard._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)
