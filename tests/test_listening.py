"""The servers that stand in for others: whoever leaves early, nothing is printed and nobody is left behind."""

from __future__ import annotations

import socket
import struct
import threading

import pytest

from tests.listening import Listening, QuietHandler


def test_a_client_that_leaves_is_not_spoken_of(capfd: pytest.CaptureFixture[str]) -> None:
    """It resets the connection while the answer is being written; one that stays silent is cut off at the end."""
    is_gone, told = threading.Event(), threading.Event()

    class Handler(QuietHandler):
        def respond(self) -> None:
            is_gone.wait(30)
            try:
                self.wfile.write(b"x" * 10_000_000)
            finally:
                told.set()

    before = set(threading.enumerate())
    server = Listening(Handler)
    silent = socket.create_connection(server.server_address)
    with socket.create_connection(server.server_address) as leaving:
        leaving.sendall(b"GET / HTTP/1.0\r\n\r\n")
        leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    is_gone.set()
    assert told.wait(30)
    server.close()
    silent.close()
    assert set(threading.enumerate()) <= before
    assert capfd.readouterr() == ("", "")
