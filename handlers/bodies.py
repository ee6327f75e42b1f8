"""Bodies that waitress reads no further than a limit, to the byte: its own refuses what is as long as the limit."""

from __future__ import annotations

import json
from typing import Any

from waitress.parser import HTTPRequestParser, ParsingError
from waitress.utilities import RequestEntityTooLarge

from handlers.connections import Connection


class TooLarge(RequestEntityTooLarge):  # type: ignore[misc]  # waitress has no types
    """The answer, in the doors' own form."""

    def to_response(self, ident: str | None = None) -> tuple[str, list[tuple[str, str]], bytes]:
        """Status, headers and body; `ident` is what waitress calls itself."""
        said = json.dumps({"status": "error", "reason": self.body})
        return f"{self.code} {self.reason}", [("Content-Type", "application/json")], said.encode()


def limited_to(most_bytes: int) -> type[Connection]:
    """Connections whose requests are answered 413 as soon as they tell that their body is, or will be, longer."""

    said = f"the body is larger than {most_bytes} bytes"

    class Parser(HTTPRequestParser):  # type: ignore[misc]  # the same
        """Reads one request."""

        error: Any = None

        def parse_header(self, header_plus: bytes) -> None:
            """Read the head; with a length beside chunks it would be for whoever stands before us to say what follows.

            https://www.rfc-editor.org/rfc/rfc9112#section-6.1
            """
            super().parse_header(header_plus)
            if self.chunked and "CONTENT_LENGTH" in self.headers:
                raise ParsingError("Content-Length and Transfer-Encoding do not go together")

        def received(self, data: bytes) -> int:
            """Take what came; how much of it belongs to this request."""
            consumed: int = super().received(data)
            problem = self.error
            if isinstance(problem, RequestEntityTooLarge) or self._told_bytes() > most_bytes:
                problem = problem if isinstance(problem, TooLarge) else TooLarge(said)
            if problem is not None:
                self.error, self.completed = problem, True
                self.expect_continue = False  # nobody is asked to send what will not be taken
            return consumed

        def _told_bytes(self) -> int:
            """The body's length as far as it is known: told, or come in chunks with what the last one will bring."""
            if not self.chunked:
                return int(self.content_length)
            return len(self.body_rcv.getbuf()) + int(self.body_rcv.chunk_remainder)

    class Limited(Connection):
        """A connection."""

        parser_class = Parser

    return Limited
