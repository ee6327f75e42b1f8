"""The server's end."""

from __future__ import annotations

import contextlib
import gc
import socket
import sys
import threading

import pytest

from playground.options import Options
from playground.server import Playground


def knock(port: int, is_over: threading.Event, kept: list[socket.socket]) -> None:
    """Connect again and again until told to stop."""
    while not is_over.wait(0.0005):
        with contextlib.suppress(OSError):
            kept.append(socket.create_connection(("127.0.0.1", port), timeout=1))


def test_no_connection_is_lost_when_it_ends_while_others_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever connects in the last moment is closed like the others: nothing is left open in the process."""
    left_open: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda left: left_open.append(left.object))
    for _ in range(8):
        kept: list[socket.socket] = []
        is_over = threading.Event()
        with Playground(Options(port=0)) as playground:
            port = int(playground.url.rpartition(":")[2])
            knockers = [threading.Thread(target=knock, args=(port, is_over, kept)) for _ in range(3)]
            for knocker in knockers:
                knocker.start()
            playground.state()
        is_over.set()
        for knocker in knockers:
            knocker.join()
        for connection in kept:
            connection.close()
        gc.collect()
    assert left_open == []
