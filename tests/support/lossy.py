"""What stands between ranks and a relay, and loses, delays and repeats requests."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import random
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LOST = "lost"
"""The connection breaks before the relay has the request."""
UNANSWERED = "unanswered"
"""The connection breaks when the relay has answered."""
OVERTAKEN = "overtaken"
"""The connection breaks, and the relay has the request late: the sender has sent it again, and what follows it."""
DELAYED = "delayed"
"""The answer comes late."""
_WELL = ""
_READ_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Passed:
    """A request that was passed on to the relay."""

    content: bytes
    """In protobuf form."""
    status: int | None
    """Of the relay's answer; None where there was none, so that the relay may have taken it or not."""


class _NoAnswerError(Exception):
    """The relay did not answer; it may have taken the request."""


class _NobodyThereError(Exception):
    """Nobody listens where the relay should."""


class LossyDoor:
    """Listens on loopback, on a thread of its own, and passes requests on. What it keeps may be read after `close`.

    The seed decides what happens to the first request that comes, to the second, and so on.

    Args:
        port: where the relay listens on loopback. It need not be up.
        seed: of the random generator.
        ills: how likely each of the things is that may happen to a request (`LOST` and so on).
        longest_s: longest delay, in seconds; each up to it is as likely.
    """

    def __init__(self, port: int, seed: int, ills: Mapping[str, float], longest_s: float) -> None:
        self._relay = port
        self._random = random.Random(seed)
        self._chances = {**ills, _WELL: 1 - sum(ills.values())}
        self._longest_s = longest_s
        self.passed: list[Passed] = []
        """Each time that a request was passed on to the relay."""
        self.befell: Counter[str] = Counter()
        """How often each ill has befallen a request."""
        self.port = 0
        """Where it listens."""
        self._late: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_READ_BYTES, backlog=512))
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Wait for the requests that are to come late, then break all connections."""
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _end(self) -> None:
        self._server.close()
        await asyncio.gather(*self._late)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relay = _Relay(self._relay)
        try:
            while await self._take(reader, writer, relay):
                pass
        except (OSError, EOFError, _NoAnswerError, _NobodyThereError, asyncio.CancelledError):
            pass  # the sender sees that the connection is broken
        finally:
            relay.close()
            writer.close()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, relay: _Relay) -> bool:
        """Take one request; returns whether another may follow on the connection."""
        request = await _Message.read(reader)
        (ill,) = self._random.choices(list(self._chances), list(self._chances.values()))
        delay_s = self._random.uniform(0, self._longest_s)
        self.befell[ill] += 1
        if ill == OVERTAKEN:
            late = asyncio.create_task(self._pass_late(request, delay_s))
            self._late.add(late)
            late.add_done_callback(self._late.discard)
        if ill in (LOST, OVERTAKEN):
            return False
        answer = await self._pass_on(request, relay)
        if ill == UNANSWERED:
            return False
        if ill == DELAYED:
            await asyncio.sleep(delay_s)
        writer.write(answer.head + answer.body)
        await writer.drain()
        return answer.headers.get("connection") != "close"

    async def _pass_on(self, request: _Message, relay: _Relay) -> _Message:
        try:
            answer = await relay.ask(request)
        except _NoAnswerError:
            self.passed.append(Passed(request.content, None))
            raise
        self.passed.append(Passed(request.content, answer.status))
        return answer

    async def _pass_late(self, request: _Message, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        relay = _Relay(self._relay)
        with contextlib.suppress(_NoAnswerError, _NobodyThereError):
            await self._pass_on(request, relay)
        relay.close()


@dataclass(frozen=True)
class _Message:
    """A request or an answer of HTTP."""

    head: bytes
    headers: dict[str, str]
    body: bytes

    @classmethod
    async def read(cls, reader: asyncio.StreamReader) -> _Message:
        """Read one from a connection."""
        head = await reader.readuntil(b"\r\n\r\n")
        lines = [line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:] if line]
        headers = {name.lower(): value.strip() for name, _, value in lines}
        return cls(head, headers, await reader.readexactly(int(headers.get("content-length", 0))))

    @property
    def content(self) -> bytes:
        """The body, not compressed."""
        return gzip.decompress(self.body) if self.headers.get("content-encoding") == "gzip" else self.body

    @property
    def status(self) -> int:
        """Of an answer."""
        return int(self.head.split(b" ", 2)[1])


class _Relay:
    """A connection to the relay."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: _Message) -> _Message:
        """Pass on a request and return the answer.

        Raises:
            _NoAnswerError: there is none.
            _NobodyThereError: the relay is not up.
        """
        if self._streams is None:
            try:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=_READ_BYTES)
            except OSError:
                raise _NobodyThereError from None
        reader, writer = self._streams
        try:
            writer.write(request.head + request.body)
            await writer.drain()
            answer = await _Message.read(reader)
        except (OSError, EOFError):
            raise _NoAnswerError from None
        if answer.headers.get("connection") == "close":
            self.close()
        return answer

    def close(self) -> None:
        """Close the connection; a later request opens another one."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
