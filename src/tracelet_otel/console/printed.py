"""Makes lines of the bytes that a process prints: with their time, the stream, and the severity that they say. Pure."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from typing import Final

from tracelet_otel._support.redact import without_secrets
from tracelet_otel.console.screen import Screen
from tracelet_otel.protocol.console import ConsoleLine

_LEVELS: Final = {"DEBUG": 5, "INFO": 9, "WARNING": 13, "ERROR": 17, "CRITICAL": 21}
"""Severity numbers of Python's levels. Source: OpenTelemetry, "Logs Data Model", and Python's `logging`."""
_LEVEL: Final = re.compile(
    rf"(?P<first>{'|'.join(_LEVELS)})\s*:"  # `logging.BASIC_FORMAT`, Lightning, uvicorn
    rf"|.{{0,100}}?(?:\[|\s-\s|\s\|\s)\s*(?P<framed>{'|'.join(_LEVELS)})\s*(?:\]|\s-\s|\s\|\s|:)"
)


def severity_of(text: str) -> int:
    """The severity that a line says, in one of the forms that records of `logging` usually have; 0 for none."""
    found = _LEVEL.match(text)
    return _LEVELS[found["first"] or found["framed"]] if found else 0


class Printed:
    """What one process prints to one place.

    Args:
        stream: `stdout` or `stderr`; empty where both lead to that place.
        secrets: texts that must not be shown. Of one with several lines, as a private key, none is shown.
    """

    def __init__(self, stream: str, secrets: Iterable[str] = ()) -> None:
        self._stream = stream
        self._secrets = [line for secret in secrets for line in secret.splitlines()]
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._screen = Screen()

    @property
    def is_pending(self) -> bool:
        """Whether there are lines that have ended and were not taken."""
        return self._screen.is_pending

    def feed(self, data: bytes, time_unix_nano: int) -> None:
        """Take bytes, which may end in the middle of a character.

        Args:
            data: the bytes.
            time_unix_nano: when they were printed, in nanoseconds since the epoch.
        """
        self._screen.feed(self._decoder.decode(data), time_unix_nano)

    def take(self, until_unix_nano: int) -> list[ConsoleLine]:
        """Lines that have ended until then and were not taken, but those of progress bars that go on."""
        return list(self._made(self._screen.take(until_unix_nano)))

    def finish(self) -> list[ConsoleLine]:
        """All lines that are left."""
        return list(self._made(self._screen.finish()))

    def _made(self, lines: list[tuple[str, int]]) -> Iterator[ConsoleLine]:
        if lines:
            # All at once: a secret is looked for in the whole text. No line has an end in it.
            texts = without_secrets("\n".join(text for text, _ in lines), self._secrets).split("\n")
            for text, (_, time_unix_nano) in zip(texts, lines, strict=True):
                yield ConsoleLine(time_unix_nano, text, self._stream, severity_of(text))
