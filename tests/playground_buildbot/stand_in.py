"""Stands in for the bot or the playground in the demo's tests: answers any GET, keeps POSTed bodies in a file.

Usage: stand_in.py PORT FILE [--die]; with --die it ends with 3 after its first GET. SIGTERM ends it with 0.
"""

import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import FrameType
from typing import Any

PORT, KEPT, DIES = int(sys.argv[1]), Path(sys.argv[2]), "--die" in sys.argv


class Handler(BaseHTTPRequestHandler):
    """Answers 200 to all."""

    def do_GET(self) -> None:
        self._answer()
        if DIES:
            sys.stderr.write("out of tea\n")
            raise SystemExit(3)

    def do_POST(self) -> None:
        with KEPT.open("ab") as kept:
            kept.write(self.rfile.read(int(self.headers["Content-Length"])) + b"\n")
        self._answer()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


def end(_number: int, _frame: FrameType | None) -> None:
    """End as a well-behaved server does."""
    sys.exit(0)


signal.signal(signal.SIGTERM, end)
with HTTPServer(("127.0.0.1", PORT), Handler) as server:
    server.serve_forever()
