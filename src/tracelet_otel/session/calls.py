"""What a relay is asked over HTTP, a call at a time."""

from __future__ import annotations

import encodings.idna  # noqa: F401  # of host names: else the first request would import it, on a thread
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import urllib3

from tracelet_otel.protocol.messages import CONTENT_TYPE, METRICS_PATH, RUNS_PATH, Status

_TIMEOUT_S: Final = 30.0
_STATUS_TIMEOUT_S: Final = 5.0
_NO_SUCH_PAGE: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)


@dataclass(frozen=True)
class Address:
    """Where a relay is and what it asks for."""

    endpoint: str
    """As in `http://127.0.0.1:40001`."""
    token: str

    @property
    def headers(self) -> dict[str, str]:
        """What each request bears."""
        return {"Authorization": f"Bearer {self.token}"}


NO_RELAY: Final = Address("", "")
"""Of a run that has none: its ranks send elsewhere."""


class HttpConnection:
    """Requests to a relay, wherever it is by now, one at a time.

    Heeds no proxies: they would get the token, too. A certificate is held against those that the system knows, or that
    SSL_CERT_FILE names.
    """

    def __init__(self) -> None:
        self._endpoint = ""
        self._pool: urllib3.HTTPConnectionPool | None = None

    def __enter__(self) -> HttpConnection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def post(
        self, address: Address, content: bytes, encoding: str | None = None, timeout_s: float = _TIMEOUT_S
    ) -> urllib3.BaseHTTPResponse:
        """Send an OTLP request in protobuf form.

        Args:
            address: where to.
            content: the request.
            encoding: how the content is encoded, as `Content-Encoding` has it; None where it is not.
            timeout_s: seconds to wait for the answer.

        Raises:
            urllib3.exceptions.HTTPError: there was no answer.
        """
        headers = {**address.headers, "Content-Type": CONTENT_TYPE}
        if encoding is not None:
            headers["Content-Encoding"] = encoding
        return self._ask("POST", address, METRICS_PATH, timeout_s, headers, content)

    def get(self, address: Address, path: str, timeout_s: float) -> urllib3.BaseHTTPResponse:
        """Ask for something.

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
        content: bytes | None = None,
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


def fetch_status(address: Address, run_id: str, timeout_s: float = _STATUS_TIMEOUT_S) -> Status | None:
    """How far a run's delivery is; None where the relay does not answer."""
    try:
        with HttpConnection() as connection:
            answer = connection.get(address, f"{RUNS_PATH}{run_id}", timeout_s)
            return Status.from_line(answer.data.decode()) if answer.status == HTTPStatus.OK else None
    except urllib3.exceptions.HTTPError:
        return None


def is_collector(address: Address) -> bool:
    """Whether what listens there takes metrics and knows of no runs; False where nothing answers."""
    try:
        with HttpConnection() as connection:
            answer = connection.get(address, f"{RUNS_PATH}any", _STATUS_TIMEOUT_S)
    except urllib3.exceptions.HTTPError:
        return False
    # A relay says in OTLP's form that it has no such run.
    kind = answer.headers.get("Content-Type", "").partition(";")[0]
    return answer.status in _NO_SUCH_PAGE and kind != CONTENT_TYPE


def wait_for(look: Callable[[], bool], deadline_s: float, pause_s: float = 0.02) -> bool:
    """Look until something holds, or until a time of the monotonic clock; returns whether it does."""
    while not look():
        if time.monotonic() >= deadline_s:
            return False
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 0.1)
    return True
