"""Connections whose calls end in time, whatever the other side does.

A socket's own time-out starts anew with every byte that comes. So one thread watches over all calls and shuts the
socket of each down at its end: whoever reads from it wakes up. Names are looked up in threads, for the system's look-up
knows no time-out at all.
"""

from __future__ import annotations

import heapq
import ipaddress
import logging
import os
import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any

import requests
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.poolmanager import PoolManager

CONNECT_S = 3.0
CONNECTIONS = 96  # more than all crews have hands
# What lies between may forget a connection that nobody uses, and say so only by silence: address translation in clouds
# does after four minutes, some firewalls after one.
IDLE_S = 30.0

_Address = tuple[Any, ...]


class Watch:
    """One call under way: when it ends (on the monotonic clock), and the socket to shut down then.

    `is_connecting` while its connection is being made, TLS included: nothing of the request has left yet.
    """

    def __init__(self, ends_at: float) -> None:
        self.ends_at = ends_at
        self.is_over = False
        self.is_done = False
        self.is_connecting = False
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def left_s(self) -> float:
        """Seconds left; TimeoutError when there are none."""
        left = self.ends_at - monotonic()
        if left <= 0 or self.is_over:
            raise TimeoutError("deadline passed")
        return left

    def hold(self, used: socket.socket) -> None:
        """Keep a second handle of the socket in use, which stays good when TLS is laid over it."""
        handle = socket.socket(used.family, used.type, used.proto, fileno=os.dup(used.fileno()))
        with self._lock:
            self._let_go()
            self._socket = handle
            if self.is_over:
                _shut(handle)

    def end(self) -> None:
        """The time is over."""
        with self._lock:
            if self.is_done:
                return
            self.is_over = True
            if self._socket is not None:
                _shut(self._socket)

    def close(self) -> None:
        """The call is done: its socket belongs to others now."""
        with self._lock:
            self.is_done = True
            self._let_go()

    def _let_go(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Watchers:
    """The thread that ends calls; it starts with the first one and then sleeps until the earliest end."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._ends: list[tuple[float, int, Watch]] = []
        self._count = 0
        self._thread: threading.Thread | None = None

    def add(self, watch: Watch) -> None:
        """Watch over a call."""
        with self._changed:
            self._count += 1
            heapq.heappush(self._ends, (watch.ends_at, self._count, watch))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="call-deadlines", daemon=True)
                self._thread.start()
            elif self._ends[0][2] is watch:
                self._changed.notify()

    def _run(self) -> None:
        while True:
            self._next().end()

    def _next(self) -> Watch:
        """The next call whose time is over; calls that were done before are forgotten."""
        with self._changed:
            while True:
                while self._ends and self._ends[0][2].is_done:
                    heapq.heappop(self._ends)
                left = self._ends[0][0] - monotonic() if self._ends else None
                if left is not None and left <= 0:
                    return heapq.heappop(self._ends)[2]
                self._changed.wait(left)


_watchers = Watchers()
_here = threading.local()


@contextmanager
def watched(ends_at: float) -> Iterator[Watch]:
    """The one call that this thread makes within, over a session of `open_session`, ends at `ends_at` (monotonic)."""
    watch = Watch(ends_at)
    _here.watch = watch
    _watchers.add(watch)
    try:
        yield watch
    finally:
        _here.watch = None
        watch.close()


@contextmanager
def together(seconds: float) -> Iterator[None]:
    """All calls that this thread makes within end after `seconds`, however many they are."""
    outer = end_of_all()
    _here.ends_at = min(outer, monotonic() + seconds)
    try:
        yield
    finally:
        _here.ends_at = outer


def end_of_all() -> float:
    """When the calls of this thread end together (on the monotonic clock); infinity outside of `together`."""
    ends_at: float = getattr(_here, "ends_at", float("inf"))
    return ends_at


def open_session(connections: int = CONNECTIONS) -> requests.Session:
    """A session that keeps connections open for a while, for `watched` calls; what it sends is what it is given.

    Without an `auth` of its own it would put what a ~/.netrc has for the host in place of a call's credentials.
    """
    # Where an answer's headers make no sense it tells the whole address and what it read: either may be a permission.
    logging.getLogger("urllib3.connection").setLevel(logging.ERROR)
    session = requests.Session()
    session.auth = _as_it_is
    for scheme in ("http://", "https://"):
        session.mount(scheme, WatchedAdapter(pool_connections=connections, pool_maxsize=connections))
    return session


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


class _Watched(HTTPConnection):
    """A connection that tells the call under way which socket it uses."""

    def _new_conn(self) -> socket.socket:
        watch: Watch | None = getattr(_here, "watch", None)
        if watch is None:
            return super()._new_conn()
        watch.is_connecting = True
        try:
            found = look_up(self._dns_host.strip("[]"), self.port, watch.left_s())
            sock = self._connect(found, watch)
        except socket.gaierror as problem:
            raise NameResolutionError(self.host, self, problem) from problem
        except TimeoutError as problem:
            raise ConnectTimeoutError(self, f"{self.host} did not answer in time") from problem
        except OSError as problem:
            raise NewConnectionError(self, f"{self.host}: {problem}") from problem
        return sock

    def _connect(self, found: list[_Address], watch: Watch) -> socket.socket:
        """A connection to the first address that answers."""
        problem: OSError = socket.gaierror("no address")
        for family, kind, protocol, _, address in found:
            sock = socket.socket(family, kind, protocol)
            try:
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                sock.settimeout(min(CONNECT_S, watch.left_s()))
                sock.connect(address)
                sock.settimeout(watch.left_s())  # TLS shakes hands within this; what follows is watched
                watch.hold(sock)
            except OSError as failed:
                sock.close()
                problem = failed
            else:
                return sock
        raise problem

    def request(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - handed on as they are
        watch: Watch | None = getattr(_here, "watch", None)
        if watch is not None and self.sock is not None:
            watch.hold(self.sock)
        super().request(*arguments, **options)

    def send(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - handed on as they are
        if self.sock is None:
            self.connect()
        watch: Watch | None = getattr(_here, "watch", None)
        if watch is not None:
            watch.is_connecting = False
        super().send(*arguments, **options)


class _WatchedSecure(_Watched, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    """Keeps connections; none is used again that was idle for longer than `IDLE_S`."""

    ConnectionCls = _Watched

    def _put_conn(self, conn: Any) -> None:  # noqa: ANN401 - urllib3's
        if conn is not None:
            conn.idle_since = monotonic()
        super()._put_conn(conn)

    def _get_conn(self, timeout: float | None = None) -> Any:  # noqa: ANN401 - urllib3's
        conn = super()._get_conn(timeout)
        if monotonic() - getattr(conn, "idle_since", monotonic()) > IDLE_S:
            conn.close()
        return conn


class _SecurePool(_Pool, HTTPSConnectionPool):
    """The same over TLS."""

    ConnectionCls = _WatchedSecure


class WatchedAdapter(requests.adapters.HTTPAdapter):
    """The adapter of requests over such connections, through a proxy as well."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - handed on as they are
        """See `HTTPAdapter`."""
        super().init_poolmanager(*arguments, **options)
        _use_watched(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:  # noqa: ANN401 - handed on as they are
        """See `HTTPAdapter`; a SOCKS proxy needs connections of its own."""
        manager = super().proxy_manager_for(proxy, **options)
        if not proxy.lower().startswith("socks"):
            _use_watched(manager)
        return manager


def _use_watched(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}


def look_up(host: str, port: int, left_s: float) -> list[_Address]:
    """The addresses of a host; TimeoutError when the look-up, which then goes on unheard, takes longer."""
    with suppress(ValueError):
        ipaddress.ip_address(host)
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    answer: queue.SimpleQueue[list[_Address] | OSError] = queue.SimpleQueue()
    threading.Thread(target=_ask, args=(host, port, answer), name="name-look-up", daemon=True).start()
    try:
        found = answer.get(timeout=left_s)
    except queue.Empty:
        raise TimeoutError("the name was not found in time") from None
    if isinstance(found, OSError):
        raise found
    return found


def _ask(host: str, port: int, answer: queue.SimpleQueue[list[_Address] | OSError]) -> None:
    try:
        answer.put(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
    except OSError as problem:
        answer.put(problem)
    except UnicodeError:
        answer.put(socket.gaierror(socket.EAI_NONAME, "not a name"))


def _shut(used: socket.socket) -> None:
    with suppress(OSError):  # it is gone already
        used.shutdown(socket.SHUT_RDWR)
