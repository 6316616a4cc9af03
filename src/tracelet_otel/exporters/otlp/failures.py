"""What became of an attempt of a stock OTLP exporter, which itself says success or failure only.

The rest it says to its log, in several lines for each attempt: for hours, where a collector is down. Those of the
thread that sends for us are kept from the log, and the guard says the first of them; what the same exporters say on
other threads, where somebody else uses them, is untouched.
"""

from __future__ import annotations

import enum
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_LONGEST: Final = 500

_FINAL: Final = ("400", "413", "415", "422", "INVALID_ARGUMENT")
"""The endpoint will never accept this export."""
_OF_THE_EXPORT: Final = ("500", "501", "INTERNAL", "UNKNOWN", "DATA_LOSS", "OUT_OF_RANGE", "RESOURCE_EXHAUSTED")
"""The endpoint has failed, and it may be for what the export holds."""


class ExportFailure(enum.Enum):
    """What is to become of an export that was not delivered."""

    REFUSED = enum.auto()
    """It will never be accepted."""
    DOUBTFUL = enum.auto()
    """It may be what the endpoint fails at."""
    KEPT = enum.auto()
    """It is not to blame: nobody answered, or nobody is let in."""


class FailureListener(logging.Filter):
    """Listens to a stock exporter on one thread.

    Args:
        logger: the name of the exporter's.
        secret: what is left out of its words.
    """

    def __init__(self, logger: str, secret: str) -> None:
        super().__init__()
        self._logger = logging.getLogger(logger)
        self._secret = secret
        self._thread: threading.Thread | None = None
        self.forget()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear, and keep from the log, what is said on this thread."""
        self._thread = threading.current_thread()
        # The first of all: a filter before it may withhold what was said a moment ago already.
        self._logger.filters.insert(0, self)
        try:
            yield
        finally:
            self._logger.removeFilter(self)

    def forget(self) -> None:
        """Begin with another attempt."""
        self._status = ""
        self._words = ""

    @property
    def fate(self) -> ExportFailure:
        """What is to become of the export."""
        if self._status in _FINAL:
            return ExportFailure.REFUSED
        return ExportFailure.DOUBTFUL if self._status in _OF_THE_EXPORT else ExportFailure.KEPT

    @property
    def words(self) -> str:
        """Why an attempt failed, or what has gone wrong so far."""
        return self._words

    def answered(self, status: str, words: str) -> None:
        """Note how the endpoint has answered."""
        self._status = status
        self._words = self._shown(words)

    def filter(self, record: logging.LogRecord) -> bool:
        """Note what the exporter says, where it is ours."""
        if threading.current_thread() is not self._thread:
            return True
        # The first line has the reason, later ones that nothing has helped.
        self._words = self._words or self._shown(record.getMessage())
        if record.levelno >= logging.ERROR and isinstance(record.args, tuple):
            codes = [arg for arg in record.args if isinstance(arg, enum.Enum | int)]
            self._status = "".join(code.name if isinstance(code, enum.Enum) else str(code) for code in codes)
        return False

    def _shown(self, words: str) -> str:
        return (words.replace(self._secret, "") if self._secret else words)[:_LONGEST]
