"""The HTTP server of a relay: it checks each OTLP request and passes its content on.

Source: OTLP specification, "OTLP/HTTP"; a response with a status other than 200 has a `google.rpc.Status`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import math
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from typing import Any, Final

import uvicorn
from google.rpc.status_pb2 import Status as RpcStatus
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

from tracelet_otel._support.guard import Guard
from tracelet_otel.errors import TraceletError
from tracelet_otel.protocol.messages import (
    CONTENT_TYPE,
    MAX_BODY_BYTES,
    METRICS_PATH,
    RELAY_PATH,
    RUNS_PATH,
    TRACES_PATH,
    Status,
    Taken,
)
from tracelet_otel.protocol.requests import MalformedError
from tracelet_otel.relay.clock import Clock
from tracelet_otel.relay.intake import Accept, BehindError, Intake, TooLargeError, unpacked
from tracelet_otel.relay.meter import RelayMeter
from tracelet_otel.relay.phase import TooLateError

_MOST_READ_BYTES: Final = 2 * MAX_BODY_BYTES
"""A body that is too large is read up to this size, so that its sender gets the response."""
_FINAL: Final[Mapping[type[Exception], int]] = {MalformedError: 400, TooLargeError: 413, TooLateError: 410}
"""Status codes for requests that are never accepted."""
_KEEP_ALIVE_S: Final = 75
_STOP_S: Final = 30.0
_BODY_S: Final = 30.0
"""How long a sender may take to send the body of a request that does not come at once."""
_BACK_S: Final = 10.0
"""How long after the pause that it was asked for a sender may take to come back."""
_MOST_CONNECTIONS_WAITING: Final = 4096
"""How many connections may wait to be accepted; the system may have a lower limit."""

_Message = MutableMapping[str, Any]


class _Refused(Exception):  # noqa: N818  # a response, not an error
    def __init__(self, status: int, reason: str, *, is_read: bool = False, **headers: str) -> None:
        super().__init__(reason)
        self.status = status
        # Where the rest of the request's body may be unread, the connection cannot be used again.
        self.headers = headers if is_read else {**headers, "connection": "close"}


class Application:
    """The ASGI application of a relay.

    Args:
        token: the bearer token that each request must have.
        accept: takes requests. The response's status is 400 for `MalformedError`, 410 for `TooLateError` and 503 for
            any other `TraceletError`.
        status: returns how far the delivery of a run is, by the run's id; None for an unknown run.
        guard: counts and logs errors.
        clock: is stopped while requests are turned away.
        meter: counts the answers, and tells the relay's own figures.
        accept_spans: takes a request with spans; None where none are taken. Errors are those of `accept`.
    """

    def __init__(
        self,
        token: str,
        accept: Accept,
        status: Callable[[str], Status | None],
        guard: Guard,
        clock: Clock,
        meter: RelayMeter,
        accept_spans: Callable[[bytes], None] | None = None,
    ) -> None:
        self._accept_spans = accept_spans
        self._meter = meter
        self._clock = clock
        self._bearer = f"Bearer {token}".encode()
        self._intake = Intake(accept, guard)
        self._status = status
        self._guard = guard

    async def __call__(
        self,
        scope: Mapping[str, Any],
        receive: Callable[[], Awaitable[_Message]],
        send: Callable[[_Message], Awaitable[None]],
    ) -> None:
        """Answer one request."""
        headers: dict[str, str] = {}
        try:
            kind, content = await self._answer(scope, receive)
            status = 200
        except _Refused as refused:
            status, headers = refused.status, refused.headers
            kind, content = CONTENT_TYPE, RpcStatus(message=str(refused)).SerializeToString()
        except Exception as error:
            self._guard.report("a request was not answered", error)
            status, kind, content = 500, CONTENT_TYPE, RpcStatus(message="internal error").SerializeToString()
            headers = {"connection": "close"}
        if scope["path"] == METRICS_PATH:
            self._meter.answered(status)
        headers = {"content-type": kind, "content-length": str(len(content)), **headers}
        pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": content})

    async def _answer(self, scope: Mapping[str, Any], receive: Callable[[], Awaitable[_Message]]) -> tuple[str, bytes]:
        headers = _headers(scope)
        if not hmac.compare_digest(headers.get(b"authorization", b""), self._bearer):
            raise _Refused(401, "the run's bearer token is missing or wrong", www_authenticate="Bearer")
        path = scope["path"]
        if path == RELAY_PATH or path.startswith(RUNS_PATH):
            if scope["method"] != "GET":
                raise _Refused(405, f"{path} takes GET only", allow="GET")
            if path == RELAY_PATH:
                # Not on this thread: a run may be waiting for the disk.
                return "application/json", (await asyncio.to_thread(self._meter.read)).line().encode()
            status = self._status(path.removeprefix(RUNS_PATH))
            if status is None:
                raise _Refused(404, "there is no such run")
            return "application/json", status.line().encode()
        accept_spans = self._accept_spans if path == TRACES_PATH else None
        if path != METRICS_PATH and accept_spans is None:
            raise _Refused(404, f"there is nothing here but {METRICS_PATH}")
        if scope["method"] != "POST":
            raise _Refused(405, f"{path} takes POST only", allow="POST")
        if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != CONTENT_TYPE.encode():
            raise _Refused(415, f"the content type has to be {CONTENT_TYPE}")
        encoding = headers.get(b"content-encoding", b"identity").strip().lower()
        if encoding not in (b"identity", b"gzip"):
            raise _Refused(415, "the content encoding has to be gzip or none")
        body = await _body(headers, receive)
        if accept_spans is not None:
            with _refusing(self._guard):
                # Not on this thread: they are written to the disk.
                await asyncio.to_thread(lambda: accept_spans(unpacked(body) if encoding == b"gzip" else body))
            return CONTENT_TYPE, b""
        answer = ExportMetricsServiceResponse()
        taken = await self._take(body, is_gzip=encoding == b"gzip")
        if taken != Taken():
            # Where no points are rejected, OTLP uses the error message for warnings.
            answer.partial_success.error_message = taken.news
            answer.partial_success.rejected_data_points = taken.rejected_points
        return CONTENT_TYPE, answer.SerializeToString()

    async def _take(self, body: bytes, *, is_gzip: bool) -> Taken:
        with _refusing(self._guard):
            try:
                return await self._intake.take(body, is_gzip=is_gzip)
            except BehindError as error:
                self._clock.stop(error.pause_s + _BACK_S)
                self._guard.report("the relay was behind, and requests had to be sent again", str(error))
                raise _Refused(503, str(error), is_read=True, retry_after=str(math.ceil(error.pause_s))) from None

    def stop(self) -> None:
        """Take the requests that wait."""
        self._intake.stop()


class HttpServer:
    """Serves an application on a thread of its own, which starts when the server is created.

    Args:
        application: answers the requests.
        listener: a listening socket.
    """

    def __init__(self, application: Application, listener: socket.socket) -> None:
        self.port: int = listener.getsockname()[1]
        """Port on which the server listens."""
        self._application = application
        config = uvicorn.Config(
            application,
            http="httptools",
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=5,
            backlog=_MOST_CONNECTIONS_WAITING,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, name="tracelet-server", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Answer the requests that have arrived, then close the port."""
        self._server.should_exit = True
        self._thread.join(_STOP_S)
        self._application.stop()


def listen(host: str, port: int, *, other_port: bool = True) -> socket.socket:
    """Open a listening socket.

    Args:
        host: name or address on which to listen.
        port: port on which to listen; 0 for any that is free.
        other_port: whether to listen on any free port if this one is taken.

    Raises:
        OSError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        try:
            listener.bind((host, port))
        except OSError:
            if not port or not other_port:
                raise
            listener.bind((host, 0))
        listener.listen(_MOST_CONNECTIONS_WAITING)
    except BaseException:
        listener.close()
        raise
    return listener


@contextlib.contextmanager
def _refusing(guard: Guard) -> Iterator[None]:
    """Answer that a request is not taken, where the block raises why."""
    try:
        yield
    except (MalformedError, TooLargeError, TooLateError) as error:
        raise _Refused(_FINAL[type(error)], str(error), is_read=True) from None
    except TraceletError as error:
        # Without a pause to keep: it is not that too much comes, and the sender has pauses of its own.
        guard.report("a request was not accepted", str(error))
        raise _Refused(503, str(error), is_read=True) from None


def _headers(scope: Mapping[str, Any]) -> dict[bytes, bytes]:
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        # A header that comes twice may be meant in two ways: it counts as empty.
        headers[name] = b"" if name in headers else value
    return headers


async def _body(headers: Mapping[bytes, bytes], receive: Callable[[], Awaitable[_Message]]) -> bytes:
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > _MOST_READ_BYTES:
        raise _Refused(413, f"the body is over {MAX_BODY_BYTES} bytes")
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        # Nearly all requests are small. They cost no task of their own, as a time limit does.
        body: bytes = message.get("body", b"")
        return body
    try:
        return await asyncio.wait_for(_rest(message, receive), _BODY_S)
    except asyncio.TimeoutError:  # in Python 3.10 it is not yet `TimeoutError`
        raise _Refused(408, f"the body was not sent within {_BODY_S:g} s") from None


async def _rest(message: _Message, receive: Callable[[], Awaitable[_Message]]) -> bytes:
    """A body that comes in several messages, of which `message` is the first."""
    parts: list[bytes] = []
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            raise _Refused(400, "the body is not whole")
        part = message.get("body", b"")
        size += len(part)
        whole = not message.get("more_body")
        if size <= MAX_BODY_BYTES:
            parts.append(part)
        elif whole or size > _MOST_READ_BYTES:
            # Not earlier: a sender that is not done would see a broken connection and not the response.
            raise _Refused(413, f"the body is over {MAX_BODY_BYTES} bytes")
        else:
            parts.clear()
        if whole:
            return b"".join(parts)
        message = await receive()
