"""Bodies that waitress reads no further than a limit, to the byte: its own refuses what is as long as the limit."""

from __future__ import annotations

from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.utilities import RequestEntityTooLarge


def limited_to(most_bytes: int) -> type[HTTPChannel]:
    """Connections whose requests are answered 413 as soon as they tell that their body is, or will be, longer."""

    class Parser(HTTPRequestParser):  # type: ignore[misc]  # waitress has no types
        """Reads one request."""

        error: Any = None

        def received(self, data: bytes) -> int:
            """Take what came; how much of it belongs to this request."""
            consumed: int = super().received(data)
            problem = self.error
            if problem is None and self._told_bytes() > most_bytes:
                problem = RequestEntityTooLarge(f"more than {most_bytes} bytes")
            if problem is not None:
                self.error, self.completed = problem, True
                self.expect_continue = False  # nobody is asked to send what will not be taken
            return consumed

        def _told_bytes(self) -> int:
            """The body's length as far as it is known: told, or come in chunks with what the last one will bring."""
            if not self.chunked:
                return int(self.content_length)
            return len(self.body_rcv.getbuf()) + int(self.body_rcv.chunk_remainder)

    class Channel(HTTPChannel):  # type: ignore[misc]  # the same
        """A connection."""

        parser_class = Parser

    return Channel
