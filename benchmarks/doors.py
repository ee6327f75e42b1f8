"""Slow and half-open clients: how long a healthy request waits at our web door and at gunicorn's threads."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from benchmarks.driver import HOST, percentile
from benchmarks.harness import Ground, Report, slack_settings
from playground.loopback import free_port

CROWDS = (0, 40, 200)
SLOW = 20
PROBES = 20
PROBE_PAUSE_S = 0.1
GIVE_UP_S = 15.0
HEAD = b"POST /webhooks/generic HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


def measure(ground: Ground, report: Report) -> None:
    """Ask for /healthz of ours, and of the yardstick's like, while others hold connections without finishing."""
    gunicorn_port = free_port()
    ground.gunicorn(
        "benchmarks.yardstick:webhook_door()", gunicorn_port, YARDSTICK_DATABASE=str(ground.folder / "yardstick.db")
    )
    _, port = ground.bot(slack_settings(free_port(), {"*": "#ci"}), "web")
    for crowd in CROWDS:
        for name, door in (("ours", port), ("gunicorn gthread 1×8", gunicorn_port)):
            with _crowd(door, crowd):
                waits = _probe(door)
            late = sum(1 for one in waits if one >= GIVE_UP_S)
            report.say(
                f"{crowd} half-open and {SLOW if crowd else 0} slow clients, {name}: p50 "
                f"{1000 * percentile(waits, 0.5):.1f} ms, max {1000 * max(waits):.0f} ms"
                + (f", {late} given up after {GIVE_UP_S:g} s" if late else "")
            )
            if name == "ours" and crowd:
                report.judge(f"longest wait beside {crowd} half-open clients", max(waits), 1.0, unit=" s")


@contextmanager
def _crowd(port: int, half_open: int) -> Iterator[None]:
    """Connections that sent half a head, and some that send a body a byte a time."""
    held = []
    is_over = threading.Event()
    for number in range(half_open + (SLOW if half_open else 0)):
        one = socket.create_connection((HOST, port), timeout=5)
        one.sendall(HEAD if number < half_open else HEAD + b"Content-Length: 100000\r\n\r\n{")
        held.append(one)
    feeder = threading.Thread(target=_feed, args=(held[half_open:], is_over), daemon=True)
    feeder.start()
    time.sleep(0.5)
    try:
        yield
    finally:
        is_over.set()
        feeder.join()
        for one in held:
            one.close()


def _feed(slow: list[socket.socket], is_over: threading.Event) -> None:
    while not is_over.wait(0.5):
        for one in slow:
            with suppress(OSError):
                one.sendall(b" ")


def _probe(port: int) -> list[float]:
    """Seconds that healthy requests wait, each on a connection of its own; the round ends early when all are lost."""
    waits: list[float] = []
    for _ in range(PROBES):
        started = time.perf_counter()
        connection = http.client.HTTPConnection(HOST, port, timeout=GIVE_UP_S)
        try:
            connection.request("GET", "/readyz")
            connection.getresponse().read()
            waits.append(time.perf_counter() - started)
        except OSError:
            waits.append(GIVE_UP_S)
        finally:
            connection.close()
        if waits[-3:] == [GIVE_UP_S] * 3:
            break
        time.sleep(PROBE_PAUSE_S)
    return waits
