"""An HTTP server on loopback that fails when a test says so."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FailingServer(ThreadingHTTPServer):
    """Serves on a thread of its own; what `ill` means is up to its handler, which reads it at each request.

    Args:
        handler: answers the requests.
        port: where it listens; 0 for one that is free.
    """

    daemon_threads = True

    def __init__(self, handler: type[BaseHTTPRequestHandler], port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), handler)
        self.ill: str | None = None
        self.well_again = threading.Event()
        """Lets go of requests that hang."""
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def uri(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that has gone away."""

    def stop(self) -> None:
        """End it, and all requests that hang."""
        self.well_again.set()
        self.shutdown()
        self.server_close()
