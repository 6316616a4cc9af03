"""Debian's Chromium without a window, driven by its remote debugging protocol."""

from __future__ import annotations

import asyncio
import base64
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
_LONGEST_S = 60.0
"""For what a page is to show."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture of a page.

    Args:
        url: of the page.
        width: of the window, in CSS pixels.
        height: of the window, in CSS pixels.
        ready: a JavaScript expression that is true once the page shows what is wanted.
        before: JavaScript statements that are run then, such as ones that hide or click something; may `await`.
        shown: an expression that is true once these have had their effect.
        scale: pixels of the picture per CSS pixel.
        settle_s: seconds that animations have after it.
    """

    url: str
    width: int = 1280
    height: int = 800
    ready: str = "document.readyState === 'complete'"
    before: str = ""
    shown: str = "true"
    scale: float = 1.0
    settle_s: float = 1.0


def take(shots: Sequence[Shot]) -> list[bytes]:
    """PNG files of pages, in their order.

    Raises:
        TimeoutError: a page did not show what is wanted.
    """
    return asyncio.run(_take(shots))


async def _take(shots: Sequence[Shot]) -> list[bytes]:
    program = shutil.which("chromium")
    if program is None:
        raise SystemExit("chromium is needed: apt-get install chromium")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            program,
            *_FLAGS,
            f"--user-data-dir={profile}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            port = await _port(Path(profile) / "DevToolsActivePort")
            async with aiohttp.ClientSession() as session:
                return [await _one(session, port, shot) for shot in shots]
        finally:
            process.terminate()
            await process.wait()


async def _port(file: Path) -> int:
    for _ in range(int(_LONGEST_S / 0.1)):
        if file.exists() and file.read_text():
            break
        await asyncio.sleep(0.1)
    return int(file.read_text().splitlines()[0])


async def _one(session: aiohttp.ClientSession, port: int, shot: Shot) -> bytes:
    async with session.put(f"http://127.0.0.1:{port}/json/new?about:blank") as answer:
        tab = await answer.json(content_type=None)
    async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
        page = _Page(socket)
        await page.call("Page.enable")
        size = {"width": shot.width, "height": shot.height, "deviceScaleFactor": shot.scale, "mobile": False}
        await page.call("Emulation.setDeviceMetricsOverride", **size)
        await page.call("Page.navigate", url=shot.url)
        await page.until(shot.ready, shot.url)
        if shot.before:
            await page.value(f"(async () => {{ {shot.before} }})()")
            await page.until(shot.shown, shot.url)
        await asyncio.sleep(shot.settle_s)
        taken = await page.call("Page.captureScreenshot", format="png")
        await page.call("Page.close")
    return base64.b64decode(taken["data"])


class _Page:
    """A tab of the browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse[Any]) -> None:
        self._socket = socket
        self._asked = 0

    async def call(self, method: str, **parameters: Any) -> Any:
        """What a method of the protocol answers."""
        self._asked += 1
        await self._socket.send_json({"id": self._asked, "method": method, "params": parameters})
        while True:
            message = await self._socket.receive_json(timeout=_LONGEST_S)
            if message.get("id") == self._asked:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]

    async def value(self, expression: str) -> Any:
        """What an expression has for a value in the page."""
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        return answer["result"].get("value")

    async def until(self, expression: str, url: str) -> None:
        """Wait until an expression is true."""
        for _ in range(int(_LONGEST_S / 0.2)):
            if await self.value(f"Boolean({expression})") is True:
                return
            await asyncio.sleep(0.2)
        shown = await self.value("document.body.innerText.slice(0, 600)")
        raise TimeoutError(f"{url} does not show what is wanted ({expression}), but: {shown}")
