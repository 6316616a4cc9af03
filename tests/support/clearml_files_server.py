"""A double of ClearML's files server, which keeps files in a directory."""

from __future__ import annotations

import re
import shutil
import tempfile
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import unquote

_AT_ONCE = 2**20


class KeptFiles:
    """What was uploaded. Requests need one of the API server's tokens.

    Args:
        tokens: the tokens.
    """

    def __init__(self, tokens: set[str]) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="clearml-files-"))
        self.requests: list[tuple[str, str]] = []
        """Method and path of each request that was let in."""
        self._tokens = tokens

    def read(self, address: str) -> bytes:
        """What a file has in it.

        Args:
            address: its address, quoted or not.
        """
        return self._path(re.sub(r"^https?://[^/]+", "", address)).read_bytes()

    @property
    def paths(self) -> list[str]:
        """Paths of all files."""
        found = (path for path in self.directory.rglob("*") if path.is_file())
        return sorted(path.relative_to(self.directory).as_posix() for path in found)

    def remove(self) -> None:
        """Remove the directory."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def answer(self, handler: BaseHTTPRequestHandler) -> int:
        """Serve a request, and return the status of its answer."""
        kind, _, token = (handler.headers.get("Authorization") or "").partition(" ")
        if kind != "Bearer" or token not in self._tokens:
            handler.close_connection = True
            return 401
        if handler.command == "POST":
            return self._take(handler)
        path = self._path(handler.path)
        self.requests.append((handler.command, unquote(handler.path).lstrip("/")))
        if not path.is_file():
            return 404
        path.unlink()
        return 200

    def _take(self, handler: BaseHTTPRequestHandler) -> int:
        (boundary,) = re.findall(r"boundary=(\S+)", handler.headers["Content-Type"])
        left = int(handler.headers["Content-Length"])
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += handler.rfile.readline()
        end = f"\r\n--{boundary}--\r\n".encode()
        left -= len(head) + len(end)
        (name,) = re.findall(r' name="([^"]*)"', head.decode())
        self.requests.append(("POST", name))
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            while left:
                part = handler.rfile.read(min(left, _AT_ONCE))
                left -= len(part)
                file.write(part)
        assert handler.rfile.read(len(end)) == end
        return 200

    def _path(self, path: str) -> Path:
        found = (self.directory / unquote(path).lstrip("/")).resolve()
        assert self.directory.resolve() in found.parents
        return found
