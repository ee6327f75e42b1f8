"""A server that answers byte by byte, for as long as it is listened to."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

PAUSE_S = 0.05


class Dripping:
    """Sends `first` at once to each connection and then `drop` again and again; counts the connections."""

    def __init__(self, first: bytes, drop: bytes, tls: ssl.SSLContext | None = None) -> None:
        self.first, self.drop = first, drop
        self.connections = 0
        self._tls = tls
        self._is_over = threading.Event()
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        """Where it is reached."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._listener.getsockname()[1]}/"

    def stop(self) -> None:
        """Close everything."""
        self._is_over.set()
        for opened in (self._listener, *self._open):
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
            opened.close()
        for thread in self._threads:
            thread.join(30)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection.dup())
            self._threads.append(threading.Thread(target=self._answer, args=(connection,)))
            self._threads[-1].start()

    def _answer(self, raw: socket.socket) -> None:
        raw.settimeout(30)
        with suppress(OSError), self._wrapped(raw) as connection:
            while not self._is_over.is_set() and connection.recv(65536):
                connection.sendall(self.first)
                while self.drop and not self._is_over.wait(PAUSE_S):
                    connection.sendall(self.drop)

    @contextmanager
    def _wrapped(self, raw: socket.socket) -> Iterator[socket.socket]:
        with raw:
            if self._tls is None:
                yield raw
            else:
                with self._tls.wrap_socket(raw, server_side=True) as wrapped:
                    yield wrapped


Serve = Callable[..., Dripping]
