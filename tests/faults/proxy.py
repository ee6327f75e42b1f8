"""A TCP proxy that breaks what passes through it, by rule: refused, reset, cut, held, answered otherwise.

It reads HTTP/1.1 as far as it must to tell one request from the next. What is upgraded to a WebSocket, and everything
where `is_http` says no, is passed on byte by byte, each direction by a thread of its own; `HOLD` holds what clients say
where `is_http` says no, as a server does whose process stands still.
"""

from __future__ import annotations

import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
_CHUNK = 65536
_STUCK_S = 60.0  # of a socket, so that no thread outlives a test that went wrong
_RESET = struct.pack("ii", 1, 0)  # no lingering: closing sends RST instead of FIN
_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)
_EXTENSIONS = re.compile(rb"\r\nsec-websocket-extensions:[^\r]*", re.I)


class Kind(Enum):
    """What goes wrong."""

    RESET_BEFORE_BODY = auto()
    """The connection is reset when the request's head was read, and nothing is passed on."""
    RESET_UNREAD = auto()
    """The same when the whole request was read."""
    LOSE_ANSWER = auto()
    """The request is carried out, and the connection reset before the answer."""
    CUT_ANSWER = auto()
    """Half of the answer's body comes, then the connection ends."""
    CUT_UNFRAMED = auto()
    """The same where nothing told how long the body would be, so that its end looks like one."""
    HOLD = auto()
    """Nothing is passed on for `seconds`, or until the fault is taken back."""
    HOLD_ANSWER = auto()
    """The request is carried out, and the answer held."""
    SAY = auto()
    """`answer` comes instead; the request is not passed on."""
    LOSE_PUSH = auto()
    """What the server sends of itself never arrives, and the connection is reset."""
    LOSE_REPLY = auto()
    """What the server sends arrives; what the client says next does not, and the connection is reset."""
    RESET_AFTER = auto()
    """What the client sends arrives; the connection is reset before the server can say more."""


@dataclass(eq=False)
class Fault:
    """One rule: `kind` for what holds all `words` (in head or body), the first `times` times, or always."""

    kind: Kind
    words: tuple[bytes, ...] = ()
    times: int | None = None
    seconds: float = _STUCK_S
    answer: bytes = b""
    met: int = 0
    is_over: threading.Event = field(default_factory=threading.Event)


def fault(kind: Kind, *words: str, times: int | None = None, seconds: float = _STUCK_S, answer: bytes = b"") -> Fault:
    """A rule, with words as text."""
    return Fault(kind, tuple(word.encode() for word in words), times, seconds, answer)


def answer(status: int, body: str | bytes, *headers: str) -> bytes:
    """A whole HTTP answer, for `Kind.SAY`."""
    raw = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(raw)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + raw


class _Broken(Exception):
    """The connection is to be reset."""


class FaultProxy:
    """Listens on a free port from the start; `upstream`, an address or the path of a socket, may be said later.

    With `tls` it speaks TLS to its clients; the context can be exchanged at any time.
    """

    def __init__(self, upstream: str = "", *, is_http: bool = True, tls: ssl.SSLContext | None = None) -> None:
        self.upstream = upstream
        self.tls = tls
        self._is_http = is_http
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self.port = 0
        self.accept()

    @property
    def url(self) -> str:
        """Its address for clients."""
        return f"http{'s' if self.tls else ''}://{HOST}:{self.port}"

    # --- breaking

    @contextmanager
    def broken(self, *faults: Fault) -> Iterator[None]:
        """These faults, and no others, for a while."""
        self.breaks(*faults)
        try:
            yield
        finally:
            self.breaks()

    def breaks(self, *faults: Fault) -> None:
        """From now on these faults; what the ones before hold is let go."""
        with self._lock:
            before, self._faults = self._faults, list(faults)
        for one in before:
            one.is_over.set()

    def refuse(self) -> None:
        """Be down: refuse connections, and reset those that are open."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.reset()

    def accept(self) -> None:
        """Take connections, on the same port as before."""
        self._listener = socket.create_server((HOST, self.port))
        self.port = self._listener.getsockname()[1]
        self._start(self._take, self._listener)

    def reset(self) -> None:
        """Reset every open connection."""
        with self._lock:
            opened = list(self._open)
        for one in opened:
            _reset(one)

    # --- the life of a proxy

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Close everything."""
        self.breaks()
        self.refuse()
        for thread in self._threads:
            thread.join(30)

    def _start(self, work: Callable[..., None], *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=work, args=arguments, name="fault-proxy", daemon=True)
        self._threads = [one for one in self._threads if one.is_alive()]
        self._threads.append(thread)
        thread.start()
        return thread

    def _take(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self._start(self._serve, client)

    # --- one connection

    def _serve(self, client: socket.socket) -> None:
        server: socket.socket | None = None
        try:
            client = self._secured(client)
            self._keep(client)
            server = self._reach()
            self._keep(server)
            if not self._is_http or self._exchange(client, server):
                self._pipe(client, server)
        except _Broken:
            _reset(client)
        except OSError:
            pass  # one side has gone, or this proxy was told to
        finally:
            for one in (client, server):
                if one is not None:
                    self._let_go(one)

    def _reach(self) -> socket.socket:
        if self.upstream.startswith("/"):
            server = socket.socket(socket.AF_UNIX)
            server.settimeout(_STUCK_S)
            server.connect(self.upstream)
            return server
        host, _, port = self.upstream.rpartition("/")[2].partition(":")
        return socket.create_connection((host, int(port)), timeout=_STUCK_S)

    def _secured(self, raw: socket.socket) -> socket.socket:
        raw.settimeout(_STUCK_S)
        try:
            return raw if self.tls is None else self.tls.wrap_socket(raw, server_side=True)
        except OSError:
            raw.close()
            raise

    def _keep(self, opened: socket.socket) -> None:
        if opened.family != socket.AF_UNIX:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._open.add(opened)

    def _let_go(self, opened: socket.socket) -> None:
        with self._lock:
            self._open.discard(opened)
        opened.close()

    def _exchange(self, client: socket.socket, server: socket.socket) -> bool:
        """Requests and answers, one after the other, to the end; True when the connection is no longer HTTP."""
        while head := _head(client):
            if self._met(head, Kind.RESET_BEFORE_BODY):
                raise _Broken
            body = _body(client, head)
            if self._met(head + body, Kind.RESET_UNREAD):
                raise _Broken
            if rule := self._met(head + body, Kind.HOLD):
                rule.is_over.wait(rule.seconds)
            if rule := self._met(head + body, Kind.SAY):
                client.sendall(rule.answer)
                continue
            server.sendall(_EXTENSIONS.sub(b"", head) + body)  # compressed frames could not be read here
            back = _head(server)
            if not back:
                return False
            if back.split(b" ", 2)[1] == b"101":
                client.sendall(back)
                return True
            if not self._pass_back(client, head + body, back, _body(server, back)):
                return False
        return False

    def _pass_back(self, client: socket.socket, request: bytes, head: bytes, body: bytes) -> bool:
        """Hand the answer on, as far as it may go; False when that was the last one of the connection."""
        if self._met(request, Kind.LOSE_ANSWER):
            raise _Broken
        if rule := self._met(request, Kind.HOLD_ANSWER):
            rule.is_over.wait(rule.seconds)
        if self._met(request, Kind.CUT_ANSWER):
            client.sendall(head + body[: len(body) // 2])
            return False
        if self._met(request, Kind.CUT_UNFRAMED):
            client.sendall(_LENGTH.sub(b"\r\nConnection: close", head) + body[: len(body) // 2])
            return False
        client.sendall(head + body)
        return True

    def _pipe(self, client: socket.socket, server: socket.socket) -> None:
        """Whatever either side says, until one of them ends."""
        loses_reply, is_cut = threading.Event(), threading.Event()
        back = self._start(self._pass_pushes, server, client, loses_reply, is_cut)
        try:
            while sent := client.recv(_CHUNK):
                if loses_reply.is_set():
                    raise _Broken
                if not self._is_http and (rule := self._met(sent, Kind.HOLD)):
                    rule.is_over.wait(rule.seconds)
                is_last = self._met(sent, Kind.RESET_AFTER) is not None
                if is_last:
                    is_cut.set()  # before the server can have anything to say
                server.sendall(sent)
                if is_last:
                    raise _Broken
        except _Broken:
            _reset(client)
        finally:
            _shut(server)
            _shut(client)
            back.join(30)

    def _pass_pushes(
        self, server: socket.socket, client: socket.socket, loses_reply: threading.Event, is_cut: threading.Event
    ) -> None:
        with suppress(OSError):
            while sent := server.recv(_CHUNK):
                if self._met(sent, Kind.LOSE_PUSH):
                    _reset(client)
                    break
                if is_cut.is_set():
                    break
                if self._met(sent, Kind.LOSE_REPLY):
                    loses_reply.set()
                client.sendall(sent)
        _shut(server)
        _shut(client)

    def _met(self, passing: bytes, kind: Kind) -> Fault | None:
        with self._lock:
            for one in self._faults:
                is_spent = one.times is not None and one.met >= one.times
                if one.kind is kind and not is_spent and all(word in passing for word in one.words):
                    one.met += 1
                    return one
        return None


def _head(source: socket.socket) -> bytes:
    """A request's or an answer's first lines, and not a byte more; empty at the end of the connection."""
    head = b""
    while not head.endswith(_END):
        more = source.recv(1 if isinstance(source, ssl.SSLSocket) else _fitting(source, head))
        if not more:
            return b""
        head += more
    return head


def _fitting(source: socket.socket, head: bytes) -> int:
    """How many of the bytes that have come belong to a head of which `head` is the beginning."""
    seen = source.recv(_CHUNK, socket.MSG_PEEK)
    end = (head + seen).find(_END)
    return max(1, len(seen) if end < 0 else end + len(_END) - len(head))


def _body(source: socket.socket, head: bytes) -> bytes:
    found = _LENGTH.search(head)
    left = int(found[1]) if found else 0
    body = bytearray()
    while left > len(body):
        chunk = source.recv(min(_CHUNK, left - len(body)))
        if not chunk:
            break
        body += chunk
    return bytes(body)


def _shut(opened: socket.socket) -> None:
    with suppress(OSError):
        opened.shutdown(socket.SHUT_RDWR)


def _reset(opened: socket.socket) -> None:
    """End a connection by RST; whoever reads from it in another thread wakes up first."""
    with suppress(OSError):
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        opened.shutdown(socket.SHUT_RD)
        opened.close()
