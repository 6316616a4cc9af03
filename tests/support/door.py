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
        """A part of the paths at which it is ill; everywhere by default."""
        super().__init__(_Handler)


class _Handler(BaseHTTPRequestHandler):
    server: Door

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        ill = self.server.ill if self.server.ill_at in self.path else None
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
