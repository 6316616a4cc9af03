"""What a training and the console process say to each other: lines of JSON, and descriptors beside the first one.

A training begins with `Registration`, which the process answers with `READY` or `UNKNOWN`. Then the training says where
lines go (`placed`) and, at its end, `END`. The process tells lines, where it was asked to, and answers `END` by `done`.
"""

from __future__ import annotations

import json
import selectors
import socket
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from tracelet_otel.protocol.console import ConsoleLine

READY: Final = "ready"
UNKNOWN: Final = "unknown"
"""The process does not know what the training prints to."""
PLACE: Final = "place"
END: Final = "end"
LINES: Final = "lines"
PUT: Final = "put"
"""There is a new entry in the spool."""
DONE: Final = "done"
_BYTES: Final = 2**16
_MOST_DESCRIPTORS: Final = 8

Key = tuple[int, int, int]
"""What tells an open file from others: device, number, and device of a terminal."""


@dataclass(frozen=True)
class Registration:
    """What the process has to read, and what to do with it."""

    streams: Sequence[str]
    """Of each place that is printed to: `stdout`, `stderr`, or an empty text for both."""
    keys: Sequence[Key]
    """Of each place, where the training writes to from now on."""
    onto: Sequence[Key] = ()
    """Of each place, what it was before: a place of another training that has registered. Where this is empty, the
    descriptors of what it was before come with this."""
    records: bool = True
    """Whether lines are recorded, or only passed on."""
    tells: bool = False
    """Whether the training wants to know the lines."""
    secrets: Sequence[str] = ()


class Talk:
    """One end of the connection.

    Args:
        connection: a socket that is connected; closed by `close`.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def register(self, registration: Registration, descriptors: Sequence[int]) -> None:
        """Send the first message."""
        content = f"{json.dumps(asdict(registration))}\n".encode()
        sent = socket.send_fds(self._connection, [content], list(descriptors))
        self._connection.sendall(content[sent:])

    def registered(self) -> tuple[Registration, list[int]]:
        """Receive the first message, with its descriptors.

        Raises:
            ValueError: it is none.
            OSError: nobody is there.
        """
        content, descriptors, _, _ = socket.recv_fds(self._connection, _BYTES, _MOST_DESCRIPTORS)
        while not content.endswith(b"\n"):
            part = self._connection.recv(_BYTES)
            if not part:
                raise ValueError("the first message is not whole")
            content += part
        given: dict[str, Any] = json.loads(content)
        for name in ("keys", "onto"):
            given[name] = [tuple(key) for key in given[name]]
        return Registration(**given), descriptors

    def say(self, kind: str, value: Any = None) -> None:
        """Send a message.

        Raises:
            OSError: nobody is there.
        """
        self._connection.sendall(f"{json.dumps([kind, value])}\n".encode())

    def tell(self, lines: Sequence[ConsoleLine]) -> None:
        """Send lines, as `say` does."""
        self.say(LINES, [[one.time_unix_nano, one.text, one.stream, one.severity] for one in lines])

    def messages(self) -> Iterator[tuple[str, Any]]:
        """Receive messages, each as its kind and value, until nobody is there any more."""
        content = b""
        while True:
            try:
                part = self._connection.recv(_BYTES)
            except OSError:
                return
            if not part:
                return
            *whole, content = (content + part).split(b"\n")
            for line in whole:
                kind, value = json.loads(line)
                yield kind, value

    def is_readable(self, timeout_s: float) -> bool:
        """Wait for a message, or for the end of the connection, at most so many seconds."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._connection, selectors.EVENT_READ)
            return bool(selector.select(timeout_s))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
