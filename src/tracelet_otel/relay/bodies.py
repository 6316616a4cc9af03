"""Bodies of requests to a relay, as ASGI hands them over in parts.

Source: ASGI specification, "HTTP & WebSocket ASGI Message Format".
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final

from tracelet_otel.protocol.messages import MAX_BODY_BYTES

_MOST_READ_BYTES: Final = 2 * MAX_BODY_BYTES
"""A body that is too large is read up to this size, so that its sender gets the response."""
_BODY_S: Final = 30.0
"""How long a sender may take to send the body of a request that does not come at once, or the next part of a file."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


class RefusedRequest(Exception):  # noqa: N818  # a response, not an error
    """A request is answered by another status than 200.

    Args:
        status: the status.
        reason: why, in words.
        is_read: whether all of the request was read. If not, the connection cannot be used again.
        headers: further headers of the answer.
    """

    def __init__(self, status: int, reason: str, *, is_read: bool = False, **headers: str) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = headers if is_read else {**headers, "connection": "close"}


def headers_of(scope: Mapping[str, Any]) -> dict[bytes, bytes]:
    """Headers of a request, by name.

    Args:
        scope: the request, as ASGI has it.
    """
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        # A header that comes twice may be meant in two ways: it counts as empty.
        headers[name] = b"" if name in headers else value
    return headers


async def whole_body(headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
    """The body of a request.

    Args:
        headers: headers of the request.
        receive: as ASGI has it.

    Raises:
        RefusedRequest: it is too large, or does not come.
    """
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > _MOST_READ_BYTES:
        raise RefusedRequest(413, f"the body is over {MAX_BODY_BYTES} bytes")
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        # Nearly all requests are small. They cost no task of their own, as a time limit does.
        body: bytes = message.get("body", b"")
        return body
    try:
        return await asyncio.wait_for(_rest(message, receive), _BODY_S)
    except asyncio.TimeoutError:  # in Python 3.10 it is not yet `TimeoutError`
        raise RefusedRequest(408, f"the body was not sent within {_BODY_S:g} s") from None


async def _rest(message: Message, receive: Receive) -> bytes:
    """A body that comes in several messages, of which `message` is the first."""
    parts: list[bytes] = []
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            raise RefusedRequest(400, "the body is not whole")
        part = message.get("body", b"")
        size += len(part)
        whole = not message.get("more_body")
        if size <= MAX_BODY_BYTES:
            parts.append(part)
        elif whole or size > _MOST_READ_BYTES:
            # Not earlier: a sender that is not done would see a broken connection and not the response.
            raise RefusedRequest(413, f"the body is over {MAX_BODY_BYTES} bytes")
        else:
            parts.clear()
        if whole:
            return b"".join(parts)
        message = await receive()


async def parts_of(receive: Receive) -> AsyncIterator[bytes]:
    """The body of a request part by part, however large it is.

    Args:
        receive: as ASGI has it.

    Raises:
        RefusedRequest: it is not whole.
    """
    while True:
        try:
            message = await asyncio.wait_for(receive(), _BODY_S)
        except asyncio.TimeoutError:  # in Python 3.10 it is not yet `TimeoutError`
            raise RefusedRequest(408, f"nothing of the body was sent within {_BODY_S:g} s") from None
        if message["type"] == "http.disconnect":
            raise RefusedRequest(400, "the body is not whole")
        yield message.get("body", b"")
        if not message.get("more_body"):
            return
