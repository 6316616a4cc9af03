"""Sends files of a run to a relay on another machine, from a spool on this one."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import IO, Final
from urllib.parse import quote

import urllib3

from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel.errors import RefusedError, TrackerUnavailableError
from tracelet_otel.protocol.files import RunFile, files_in
from tracelet_otel.protocol.messages import FILES_PATH
from tracelet_otel.protocol.run_identity import RunIdentity
from tracelet_otel.relay.files import RunFiles
from tracelet_otel.session.calls import Address, HttpConnection

_RELAY: Final = "relay"
_FINAL: Final = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED,
    HTTPStatus.GONE,
)
"""Status codes with which a relay answers what it will never take; one of an older version has no such path."""


class OutgoingFiles:
    """The files of this process, on their way to the run's relay. It takes them as a relay does for a tracker.

    Args:
        directory: the spool on this machine.
        run_id: id of the run.
        address: returns the relay's address; called before each request.
        guard: where problems are reported.
    """

    def __init__(self, directory: Path, run_id: str, address: Callable[[], Address], guard: Guard) -> None:
        self._files = RunFiles(directory, guard)
        self._address = address
        self._is_finished = False
        self._files.begin({_RELAY: self}, {semconv.RUN_ID: run_id})

    def file_writer(self) -> RelayFiles:
        """Make what writes them to the relay."""
        return RelayFiles(self._address)

    def notice(self) -> None:
        """Look for new entries of the spool."""
        self._files.notice()

    def finish(self, patience_s: float) -> None:
        """Send what is left, and stop. What cannot be sent is reported, and stays in the spool. Later calls do nothing.

        Args:
            patience_s: give up when nothing was taken for so many seconds.
        """
        if not self._is_finished:
            self._is_finished = True
            self._files.finish(_RELAY, patience_s)
            self._files.close()


class RelayFiles:
    """A `FileWriter` whose tracker is a relay.

    Args:
        address: returns the relay's address.
    """

    def __init__(self, address: Callable[[], Address]) -> None:
        self._address = address
        self._connection = HttpConnection()
        self._prefix = ""

    def open(self, run: RunIdentity) -> None:
        """Take the run's id."""
        self._prefix = f"{FILES_PATH}{run.run_id}"

    def write(self, file: RunFile, content: Path | None) -> None:
        """Send a file. Its entry has a name that is the same each time, by which the relay knows what it has."""
        description = file.to_json().encode()
        entry = f"{file.time_unix_nano:020d}-{zlib.crc32(description):010d}-0"
        for behind, found in files_in(content) if content is not None else ():
            with found.open("rb") as body:
                self._put(f"{entry}/{file.content}{behind}", body, found.stat().st_size)
        self._put(entry, description, len(description))

    def _put(self, path: str, body: IO[bytes] | bytes, size: int) -> None:
        try:
            answer = self._connection.put(self._address(), quote(f"{self._prefix}/{path}"), body, size)
        except urllib3.exceptions.HTTPError as error:
            self._connection.close()
            raise TrackerUnavailableError(f"the relay does not answer ({type(error).__name__})") from None
        if answer.status != HTTPStatus.OK:
            reason = f"the relay answers {answer.status}"
            raise RefusedError(reason) if answer.status in _FINAL else TrackerUnavailableError(reason)
