"""Requests to a relay by HTTP."""

from __future__ import annotations

import encodings.idna  # noqa: F401  # for host names: otherwise the first request would import it, on a thread
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import IO, Final

import urllib3

from tracelet_otel.protocol.messages import CONTENT_TYPE, METRICS_PATH, RUNS_PATH, Status

_TIMEOUT_S: Final = 30.0
_STATUS_TIMEOUT_S: Final = 5.0
_PART_BYTES: Final = 2**16
_NO_SUCH_PAGE: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)


@dataclass(frozen=True)
class Address:
    """Address of a relay, and the token that it requires."""

    endpoint: str
    """Scheme, host and port, as in `http://127.0.0.1:40001`."""
    token: str

    @property
    def headers(self) -> dict[str, str]:
        """Headers of each request."""
        return {"Authorization": f"Bearer {self.token}"}


NO_RELAY: Final = Address("", "")
"""Address for a run whose ranks cannot send to a relay."""


class HttpConnection:
    """A connection for requests to a relay, one at a time. It is opened again when the relay's address changes.

    Proxies are not used, because they would get the token. A certificate is checked against those that the system
    trusts, or those in the file that SSL_CERT_FILE names.
    """

    def __init__(self) -> None:
        self._endpoint = ""
        self._pool: urllib3.HTTPConnectionPool | None = None

    def __enter__(self) -> HttpConnection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def post(
        self,
        address: Address,
        content: bytes,
        encoding: str | None = None,
        timeout_s: float = _TIMEOUT_S,
        path: str = METRICS_PATH,
    ) -> urllib3.BaseHTTPResponse:
        """Post an OTLP request in protobuf form.

        Args:
            address: address and token of the relay.
            content: the request.
            encoding: value of the `Content-Encoding` header, such as `gzip`; None for no header.
            timeout_s: seconds to wait for the answer.
            path: to which it is posted.

        Raises:
            urllib3.exceptions.HTTPError: there was no answer.
        """
        headers = {**address.headers, "Content-Type": CONTENT_TYPE}
        if encoding is not None:
            headers["Content-Encoding"] = encoding
        return self._ask("POST", address, path, timeout_s, headers, content)

    def put(self, address: Address, path: str, body: IO[bytes] | bytes, size: int) -> urllib3.BaseHTTPResponse:
        """Put a file, which is read while it is sent.

        Args:
            address: address and token of the relay.
            path: to which it is put.
            body: the file.
            size: in bytes. Where the file grows meanwhile, no more is sent: it would be taken for the next request.

        Raises:
            urllib3.exceptions.HTTPError: there was no answer.
        """
        headers = {**address.headers, "Content-Length": str(size)}
        content = body if isinstance(body, bytes) else _beginning(body, size)
        return self._ask("PUT", address, path, _TIMEOUT_S, headers, content)

    def get(self, address: Address, path: str, timeout_s: float) -> urllib3.BaseHTTPResponse:
        """Get a path of the relay.

        Raises:
            urllib3.exceptions.HTTPError: there was no answer.
        """
        return self._ask("GET", address, path, timeout_s, address.headers)

    def _ask(
        self,
        method: str,
        address: Address,
        path: str,
        timeout_s: float,
        headers: Mapping[str, str],
        content: Iterable[bytes] | bytes | None = None,
    ) -> urllib3.BaseHTTPResponse:
        if self._pool is None or address.endpoint != self._endpoint:
            self.close()
            self._pool = urllib3.connection_from_url(address.endpoint)
            self._endpoint = address.endpoint
        return self._pool.urlopen(method, path, content, headers, retries=False, redirect=False, timeout=timeout_s)

    def close(self) -> None:
        """Close the connection; a later request opens another one."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None


def _beginning(file: IO[bytes], size: int) -> Iterator[bytes]:
    """The first so many bytes of a file, in parts.

    Raises:
        OSError: it has fewer; the file has become shorter.
    """
    while size:
        data = file.read(min(_PART_BYTES, size))
        if not data:
            raise OSError("the file has become shorter while it was sent")
        size -= len(data)
        yield data


def listens(address: Address) -> bool:
    """Whether something listens at this address. A relay that is too busy to answer does."""
    found = urllib3.util.parse_url(address.endpoint)
    try:
        with socket.create_connection((found.host or "", found.port or 0), _STATUS_TIMEOUT_S):
            return True
    except TimeoutError:
        return True
    except OSError:
        return False


def fetch_status(address: Address, run_id: str, timeout_s: float = _STATUS_TIMEOUT_S) -> Status | None:
    """Ask a relay how far the delivery of a run is; None where it does not answer, or does not know the run."""
    try:
        with HttpConnection() as connection:
            answer = connection.get(address, f"{RUNS_PATH}{run_id}", timeout_s)
            return Status.from_line(answer.data.decode()) if answer.status == HTTPStatus.OK else None
    except urllib3.exceptions.HTTPError:
        return None


def is_collector(address: Address) -> bool:
    """Whether an OpenTelemetry collector listens at this address, and no relay; False where nothing answers."""
    try:
        with HttpConnection() as connection:
            answer = connection.get(address, f"{RUNS_PATH}any", _STATUS_TIMEOUT_S)
    except urllib3.exceptions.HTTPError:
        return False
    # A relay also answers that it has no such run, but with the content type of OTLP.
    kind = answer.headers.get("Content-Type", "").partition(";")[0]
    return answer.status in _NO_SUCH_PAGE and kind != CONTENT_TYPE


def wait_for(look: Callable[[], bool], deadline_s: float, pause_s: float = 0.02) -> bool:
    """Call a function again and again until it returns true, or until the deadline.

    Args:
        look: the function. It is called at least once.
        deadline_s: when to give up, a time of the monotonic clock in seconds.
        pause_s: first pause between two calls in seconds; pauses grow to 0.1 s.

    Returns:
        Whether it has returned true.
    """
    while not look():
        if time.monotonic() >= deadline_s:
            return False
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 0.1)
    return True
