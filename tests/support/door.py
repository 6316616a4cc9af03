"""What stands before a real MLflow server and can fall ill."""

from __future__ import annotations

import http.client
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from tests.support.failing_server import FailingServer

ILLS = ["down", "hangs", "500", "429"]


class Door(FailingServer):
    """Stands before a real MLflow server and can fall ill."""

    def __init__(self, target: str) -> None:
        self.target = urlsplit(target).netloc
        self.ill_at = ""
        """A part of the paths at which it is ill, or slow; everywhere by default."""
        self.delay_s = 0.0
        """How much longer it takes there."""
        self.passed: list[str] = []
        """Method and path of each request that has come there."""
        super().__init__(_Handler)


class _Handler(BaseHTTPRequestHandler):
    server: Door

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        is_here = self.server.ill_at in self.path
        ill = self.server.ill if is_here else None
        if is_here:
            self.server.passed.append(f"{self.command} {self.path}")
            self.server.well_again.wait(self.server.delay_s)
        if ill == "down":
            self.close_connection = True
            return
        if ill == "hangs":
            self.server.well_again.wait(120)
            return
        if ill:
            self.send_response(int(ill))
            self.send_header("Retry-After", "3600")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        connection = http.client.HTTPConnection(self.server.target, timeout=60)
        connection.request(self.command, self.path, body, dict(self.headers))
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers.get("Content-Type", "text/plain"))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _pass  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass
