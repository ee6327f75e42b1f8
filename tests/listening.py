"""HTTP servers on loopback for tests: silent, at ease with clients that go away, and gone when they are closed."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR, socket
from typing import Any

POLL_S = 0.02
CLOSE_S = 10.0


class QuietHandler(BaseHTTPRequestHandler):
    """Base of what answers requests: `respond` answers every method, and nothing is logged."""

    def respond(self) -> None:
        """Read the request and write the answer."""
        raise NotImplementedError

    def do_GET(self) -> None:
        """See `http.server`."""
        self.respond()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - the names that http.server looks for

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing on the tests' standard error."""


class Listening(ThreadingHTTPServer):
    """Serves on a free port from the start until it is closed, each connection in a thread.

    A client that goes away is no error. Other mistakes are printed: they are a test's own.
    """

    def __init__(self, handler: type[QuietHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self._taken: dict[threading.Thread, socket] = {}
        self._thread = threading.Thread(target=self.serve_forever, args=(POLL_S,), name="listening", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening, cut off who is still connected, and wait for their threads."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        for thread, connection in self._taken.items():
            with suppress(OSError):  # it has ended by itself
                connection.shutdown(SHUT_RDWR)
            thread.join(CLOSE_S)

    def process_request(self, request: Any, client_address: Any) -> None:
        """See `socketserver`: threads of its own, because those of the standard library are waited for without end."""
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        self._taken = {other: taken for other, taken in self._taken.items() if other.is_alive()}
        self._taken[thread] = request
        thread.start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """See `socketserver`."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)
