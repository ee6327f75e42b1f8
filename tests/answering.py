"""A server that answers as the test says, and keeps what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.listening import Listening, QuietHandler


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: `target` is the path with the query as it came; headers have lower-case names."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """The path alone."""
        return urlsplit(self.target).path


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back."""

    status: int = 200
    body: bytes | str = b""
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


class Answering:
    """Listens on a free port until it is closed; `answer` decides what each request gets."""

    def __init__(self, answer: Callable[[Asked], Answer]) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self._server = Listening(self._handler())
        self.url = self._server.url

    def close(self) -> None:
        """Stop listening."""
        self._server.close()

    def _handler(self) -> type[QuietHandler]:
        here = self

        class Handler(QuietHandler):
            def respond(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, self.path, headers, body)
                here.asked.append(asked)
                answer = here.answer(asked)
                sent = answer.body.encode() if isinstance(answer.body, str) else answer.body
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)

        return Handler
