"""A web door over real sockets, and ways to speak to it that no well-behaved client has."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from io import BufferedReader
from typing import Any, Self

from flask import Blueprint

from handlers.web import WebServer, create_app

PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def said(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class _Kept:
    """What an HTTPResponse reads from: the connection's one buffer, which outlives the answer."""

    def __init__(self, file: BufferedReader) -> None:
        self._file = file
        self.readline, self.read, self.readinto = file.readline, file.read, file.readinto

    def makefile(self, _mode: str) -> Self:
        """See `socket.socket`."""
        return self

    def flush(self) -> None:
        """Nothing is written."""

    def close(self) -> None:
        """The next answer comes from here too."""


class Line:
    """One connection, written to byte by byte."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self._file = self._socket.makefile("rb")

    def write(self, content: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(content)

    def read(self, method: str = "POST") -> Answer:
        """The next answer; ConnectionError when the server hung up instead."""
        response = HTTPResponse(_Kept(self._file), method=method)  # type: ignore[arg-type] # only makefile is used
        response.begin()
        body = response.read()
        return Answer(response.status, dict(response.headers), body)

    def is_open(self) -> bool:
        """Whether the server has not hung up."""
        self._socket.setblocking(False)
        try:
            return self._socket.recv(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            return True
        finally:
            self._socket.settimeout(PATIENCE_S)

    def ask(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
        """One request and its answer on this connection."""
        self.write(request_of(method, path, headers, body))
        return self.read(method)

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self._socket.close()


def request_of(method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> bytes:
    """A request as it goes over the wire; its length is told unless `headers` tell another or a chunked body."""
    wanted = {"Host": "bot", **(headers or {})}
    if body and not {"Content-Length", "Transfer-Encoding"} & set(wanted):
        wanted["Content-Length"] = str(len(body))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in wanted.items()), "", ""]
    return "\r\n".join(lines).encode("utf-8") + body


def chunked(*chunks: bytes) -> bytes:
    """A body in chunks, with its end."""
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


@contextmanager
def serve(doors: Sequence[Blueprint], problem: str | None = None, threads: int = 4) -> Iterator[int]:
    """A running server; gives its port. `problem` is why it is not ready."""
    server = WebServer(create_app(doors, lambda: problem), "127.0.0.1:0", threads)
    server.start()
    try:
        yield server.port
    finally:
        server.stop()


@contextmanager
def line_to(port: int) -> Iterator[Line]:
    """A connection that is closed in the end."""
    line = Line(port)
    try:
        yield line
    finally:
        line.close()
