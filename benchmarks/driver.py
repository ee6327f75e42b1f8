"""A lean load driver: raw sockets kept alive, requests made beforehand, one thread around epoll.

Two ways to drive: `closed` keeps every connection busy with one request at a time, which finds the highest rate;
`paced` sends at planned times whatever the answers do, and counts a late start as latency.
"""

from __future__ import annotations

import select
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

HOST = "127.0.0.1"
DEADLINE_S = 60.0
_END = b"\r\n\r\n"


@dataclass(slots=True)
class Load:
    """What came of a round: seconds from sending to the whole answer, and how busy the driver itself was."""

    elapsed_s: float = 0.0
    driver_cpu_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    sent_at: dict[int, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies_s) / self.elapsed_s

    @property
    def driver_share(self) -> float:
        """The share of one core that the driver took."""
        return self.driver_cpu_s / self.elapsed_s


@dataclass(slots=True)
class _Connection:
    socket: socket.socket
    received: bytearray = field(default_factory=bytearray)
    started: float = 0.0

    def send(self, request: bytes, started: float) -> None:
        self.started = started
        self.socket.sendall(request)

    def read(self) -> int:
        """The status once a whole answer has come, else 0."""
        chunk = self.socket.recv(65536)
        if not chunk:
            raise ConnectionError("the server closed a connection that it was to keep")
        self.received += chunk
        head_end = self.received.find(_END)
        if head_end < 0:
            return 0
        head = bytes(self.received[:head_end]).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if len(self.received) < head_end + len(_END) + length:
            return 0
        self.received.clear()
        return int(head[9:12])


def closed(port: int, requests: Sequence[bytes], connections: int) -> Load:
    """Send all requests, each connection its next one as soon as its answer is there."""
    load = Load()
    open_ones = _connect(port, connections)
    poll = select.epoll()
    for number in open_ones:
        poll.register(number, select.EPOLLIN)
    queue = iter(requests)
    cpu, started = time.process_time(), time.perf_counter()
    busy = 0
    for one in open_ones.values():
        if (request := next(queue, None)) is not None:
            one.send(request, time.perf_counter())
            busy += 1
    while busy:
        ready = poll.poll(DEADLINE_S)
        if not ready:
            raise TimeoutError("no answer came")
        for number, _ in ready:
            one = open_ones[number]
            if not (status := one.read()):
                continue
            now = time.perf_counter()
            load.latencies_s.append(now - one.started)
            load.statuses[status] += 1
            request = next(queue, None)
            if request is None:
                busy -= 1
            else:
                one.send(request, now)
    load.elapsed_s, load.driver_cpu_s = time.perf_counter() - started, time.process_time() - cpu
    _close(poll, open_ones)
    return load


def paced(port: int, requests: Sequence[bytes], connections: int, rate: float) -> Load:
    """Send request n at n/rate seconds; `sent_at` holds when each was due, in seconds since 1970."""
    load = Load()
    open_ones = _connect(port, connections)
    poll = select.epoll()
    for number in open_ones:
        poll.register(number, select.EPOLLIN)
    idle = list(open_ones.values())
    cpu, started, epoch = time.process_time(), time.perf_counter(), time.time()
    following = 0
    while len(load.latencies_s) < len(requests):
        now = time.perf_counter() - started
        while following < len(requests) and following / rate <= now and idle:
            due = following / rate
            load.sent_at[following] = epoch + due
            idle.pop().send(requests[following], started + due)
            following += 1
        is_more_due = following < len(requests) and bool(idle)
        pause = max(0.0, following / rate - (time.perf_counter() - started)) if is_more_due else DEADLINE_S
        for number, _ in poll.poll(pause):
            one = open_ones[number]
            if status := one.read():
                load.latencies_s.append(time.perf_counter() - one.started)
                load.statuses[status] += 1
                idle.append(one)
    load.elapsed_s, load.driver_cpu_s = time.perf_counter() - started, time.process_time() - cpu
    _close(poll, open_ones)
    return load


def _connect(port: int, connections: int) -> dict[int, _Connection]:
    found = {}
    for _ in range(connections):
        one = socket.create_connection((HOST, port), timeout=DEADLINE_S)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        found[one.fileno()] = _Connection(one)
    return found


def _close(poll: select.epoll, connections: dict[int, _Connection]) -> None:
    poll.close()
    for one in connections.values():
        one.socket.close()


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 10_000) * len(ordered) // 10_000) - 1))]
