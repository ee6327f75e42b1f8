"""A small HTTP service: greets, tells whether it is well, and how its requests went. The standard library is enough."""

import argparse
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from greetings import greet, is_well

VERSION = "v1"
ANSWERS: dict[int, int] = {}
LOCK = threading.Lock()


class Door(BaseHTTPRequestHandler):
    """Answers `/`, `/health` (200 or 503), `/version` and `/metrics` (Prometheus' text format)."""

    def do_GET(self) -> None:
        """Answer, and count the answers to people; what watches over the service is not counted."""
        match self.path:
            case "/health":
                self._say(200 if is_well() else 503, {"status": "ok" if is_well() else "greetings are missing"})
            case "/version":
                self._say(200, {"version": VERSION})
            case "/metrics":
                self._write(200, "text/plain; version=0.0.4", _metrics())
            case _:
                self._greet()

    def _greet(self) -> None:
        try:
            status, answer = 200, {"greeting": greet()}
        except LookupError as problem:
            status, answer = 500, {"error": str(problem)}
        with LOCK:
            ANSWERS[status] = ANSWERS.get(status, 0) + 1
        self._say(status, answer)

    def _say(self, status: int, answer: dict[str, str]) -> None:
        self._write(status, "application/json", json.dumps(answer, ensure_ascii=False))

    def _write(self, status: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing: the demo's log is for people."""


def _metrics() -> str:
    with LOCK:
        lines = [f'http_requests_total{{service="greeter",status="{code}"}} {count}' for code, count in ANSWERS.items()]
    return "\n".join(["# TYPE http_requests_total counter", *lines, ""])


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    with ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Door) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
