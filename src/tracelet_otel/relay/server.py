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
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import uvicorn
from google.rpc.status_pb2 import Status as RpcStatus
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

from tracelet_otel._support.guard import Guard
from tracelet_otel.errors import TraceletError
from tracelet_otel.protocol.messages import (
    CONTENT_TYPE,
    FILES_PATH,
    METRICS_PATH,
    RELAY_PATH,
    RUNS_PATH,
    TRACES_PATH,
    Status,
    Taken,
)
from tracelet_otel.protocol.requests import MalformedError
from tracelet_otel.relay.bodies import Message, Receive, RefusedRequest, headers_of, parts_of, whole_body
from tracelet_otel.relay.clock import Clock
from tracelet_otel.relay.intake import Accept, BehindError, Intake, TooLargeError, unpacked
from tracelet_otel.relay.meter import RelayMeter
from tracelet_otel.relay.phase import TooLateError
from tracelet_otel.relay.uploads import Uploads

_FINAL: Final[Mapping[type[Exception], int]] = {MalformedError: 400, TooLargeError: 413, TooLateError: 410}
"""Status codes for requests that are never accepted."""
_KEEP_ALIVE_S: Final = 75
_STOP_S: Final = 30.0
_BACK_S: Final = 10.0
"""How long after the pause that it was asked for a sender may take to come back."""
_MOST_CONNECTIONS_WAITING: Final = 4096
"""How many connections may wait to be accepted; the system may have a lower limit."""


@dataclass(frozen=True)
class TakesBeside:
    """What a relay takes beside metrics."""

    spans: Callable[[bytes], None]
    """Takes a request with spans."""
    files: Uploads


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
        beside: takes spans and files; None where none are taken. Errors are those of `accept`.
    """

    def __init__(
        self,
        token: str,
        accept: Accept,
        status: Callable[[str], Status | None],
        guard: Guard,
        clock: Clock,
        meter: RelayMeter,
        beside: TakesBeside | None = None,
    ) -> None:
        self._beside = beside
        self._meter = meter
        self._clock = clock
        self._bearer = f"Bearer {token}".encode()
        self._intake = Intake(accept, guard)
        self._status = status
        self._guard = guard

    async def __call__(
        self,
        scope: Mapping[str, Any],
        receive: Receive,
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Answer one request."""
        headers: dict[str, str] = {}
        try:
            kind, content = await self._answer(scope, receive)
            status = 200
        except RefusedRequest as refused:
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

    async def _answer(self, scope: Mapping[str, Any], receive: Receive) -> tuple[str, bytes]:
        headers = headers_of(scope)
        if not hmac.compare_digest(headers.get(b"authorization", b""), self._bearer):
            raise RefusedRequest(401, "the run's bearer token is missing or wrong", www_authenticate="Bearer")
        path = scope["path"]
        if path == RELAY_PATH or path.startswith(RUNS_PATH):
            if scope["method"] != "GET":
                raise RefusedRequest(405, f"{path} takes GET only", allow="GET")
            return "application/json", (await self._told(path)).encode()
        if self._beside is not None and path.startswith(FILES_PATH):
            if scope["method"] != "PUT":
                raise RefusedRequest(405, f"{path} takes PUT only", allow="PUT")
            with _refusing(self._guard):
                await self._beside.files.take(path.removeprefix(FILES_PATH), parts_of(receive))
            return CONTENT_TYPE, b""
        accept_spans = self._beside.spans if self._beside is not None and path == TRACES_PATH else None
        if path != METRICS_PATH and accept_spans is None:
            raise RefusedRequest(404, f"there is nothing here but {METRICS_PATH}")
        if scope["method"] != "POST":
            raise RefusedRequest(405, f"{path} takes POST only", allow="POST")
        if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != CONTENT_TYPE.encode():
            raise RefusedRequest(415, f"the content type has to be {CONTENT_TYPE}")
        encoding = headers.get(b"content-encoding", b"identity").strip().lower()
        if encoding not in (b"identity", b"gzip"):
            raise RefusedRequest(415, "the content encoding has to be gzip or none")
        body = await whole_body(headers, receive)
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

    async def _told(self, path: str) -> str:
        """How a run, or the relay itself, is doing."""
        if path == RELAY_PATH:
            # Not on this thread: a run may be waiting for the disk.
            return (await asyncio.to_thread(self._meter.read)).line()
        status = self._status(path.removeprefix(RUNS_PATH))
        if status is None:
            raise RefusedRequest(404, "there is no such run")
        return status.line()

    async def _take(self, body: bytes, *, is_gzip: bool) -> Taken:
        with _refusing(self._guard):
            try:
                return await self._intake.take(body, is_gzip=is_gzip)
            except BehindError as error:
                self._clock.stop(error.pause_s + _BACK_S)
                self._guard.report("the relay was behind, and requests had to be sent again", str(error))
                raise RefusedRequest(503, str(error), is_read=True, retry_after=str(math.ceil(error.pause_s))) from None

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
        raise RefusedRequest(_FINAL[type(error)], str(error), is_read=True) from None
    except TraceletError as error:
        # Without a pause to keep: it is not that too much comes, and the sender has pauses of its own.
        guard.report("a request was not accepted", str(error))
        raise RefusedRequest(503, str(error), is_read=True) from None
