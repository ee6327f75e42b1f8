"""A server on loopback that stands in for an outside system: what every such stand-in has."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from tests.listening import Listening, QuietHandler

Answer = tuple[int, Any]
RETRY_AFTER_S = 7


@dataclass(frozen=True)
class Call:
    """One request as it came; header names are in lower case."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: Any

    @property
    def content_type(self) -> str:
        """Without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0]


class Loopback:
    """Serves `answer` at `url` while the block lasts; `faults` answer the next calls whose path they match.

    `problems` are what a specification has to say against the calls: there must be none when the block ends well.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.problems: list[str] = []
        self._faults: list[tuple[str, Answer]] = []
        self._lock = threading.RLock()
        self._server = Listening(_handler(self._receive))
        self.url = self._server.url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, at: TracebackType | None
    ) -> None:
        self._server.close()
        if kind is None:
            assert not self.problems, self.problems

    def answer(self, call: Call) -> Answer:
        """Status and JSON (or bytes, or None) for one request; one at a time."""
        raise NotImplementedError

    def fail(self, path: str, status: int, body: Any = None) -> None:
        """Answer the next call whose path holds `path` with an error."""
        self._faults.append((path, (status, body)))

    def paths(self, method: str) -> list[str]:
        """The paths called with a method, in order."""
        return [call.path for call in self.calls if call.method == method]

    def _receive(self, call: Call) -> Answer:
        with self._lock:
            self.calls.append(call)
            for number, (part, answer) in enumerate(self._faults):
                if part in call.path:
                    del self._faults[number]
                    return answer
            return self.answer(call)


def _handler(receive: Callable[[Call], Answer]) -> type[QuietHandler]:
    class Handler(QuietHandler):
        protocol_version = "HTTP/1.1"

        def respond(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            raw = self.rfile.read(length)
            if len(raw) < length:
                raise ConnectionResetError("the client left within its body")
            headers = {name.lower(): value for name, value in self.headers.items()}
            body: Any = None
            if raw:
                is_form = headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
                body = (
                    {name: values[0] for name, values in parse_qs(raw.decode()).items()} if is_form else json.loads(raw)
                )
            status, said = receive(Call(self.command, unquote(parts.path), parse_qs(parts.query), headers, body))
            content = b"" if said is None else said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(status)
            if status == 429:
                self.send_header("Retry-After", str(RETRY_AFTER_S))
            self.send_header("Content-Type", "text/html" if isinstance(said, bytes) else "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    return Handler
