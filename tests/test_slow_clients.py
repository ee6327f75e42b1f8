"""Two hundred slow and half-open clients at the web door, in every way of running it, with no proxy in front."""

from __future__ import annotations

import itertools
import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from handlers.web import IDLE_S
from tests.handlers.serving import Line, chunked, line_to, request_of
from tests.test_cli_processes import Start, _upgrade, home, key, start, tell, wait_until  # noqa: F401 - fixtures

CLIENTS = 200
PROMPT_S = 5.0  # healthy answers come within milliseconds; this much is for a machine that is busy
ROUNDS_S = IDLE_S / 2  # the silent ones are hung up on some time after, and rightly so
WAYS = {"run": ("run",), "processes": ("web", "worker", "clock")}
_WHOLE = request_of("POST", "/webhooks/nightly", {"Content-Length": "100000"}, b"x" * 50)
HALVES = (
    b"",
    _WHOLE[:30],
    request_of("POST", "/webhooks/nightly", {"X-Long": "x" * 30_000})[:-2],
    _WHOLE,
    request_of("POST", "/webhooks/nightly", {"Transfer-Encoding": "chunked"}, chunked(b"x" * 50)[:-5]),
)


@contextmanager
def crowd(port: int) -> Iterator[list[Line]]:
    """Connections that say nothing, half a head, most of a long one, a head and some of its body, or some chunks."""
    with ExitStack() as stack:
        lines = [stack.enter_context(line_to(port)) for _ in range(CLIENTS)]
        for line, half in zip(lines, itertools.cycle(HALVES), strict=False):
            line.write(half)
        yield lines


@pytest.mark.parametrize("way", WAYS)
def test_two_hundred_slow_clients_delay_nobody(start: Start, key: str, way: str) -> None:  # noqa: F811 - fixtures
    """While all of them are there, some of them dripping, webhooks are accepted and operators' pages answered."""
    processes = [start(role, SHIPMATE_KEY=key) for role in WAYS[way]]
    door = processes[0]
    if way != "run":
        _upgrade(door)
    wait_until(door.is_ready, *processes)
    came = time.monotonic()
    with crowd(int(door.url.rpartition(":")[2])) as lines:
        for number in range(20):
            if time.monotonic() - came > ROUNDS_S:
                break
            for line in lines[3 :: len(HALVES)]:
                line.write(b"x")  # a byte at a time of what was promised
            began = time.monotonic()
            assert tell(door, number).status_code == 202
            told = time.monotonic()
            assert door.is_ready()
            assert max(told - began, time.monotonic() - told) < PROMPT_S
        assert all(line.is_open() for line in lines)
    assert tell(door, 20).status_code == 202


def test_a_crowd_finds_room_in_a_process_that_may_open_few_files(start: Start) -> None:  # noqa: F811 - a fixture
    """The usual limit, 1,024, is hardly above the connections that are taken: it is raised as far as is allowed."""
    usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (CLIENTS, most))
    try:
        door = start("run")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (usual, most))
    wait_until(door.is_ready, door)
    with crowd(int(door.url.rpartition(":")[2])):
        began = time.monotonic()
        assert tell(door, 0).status_code == 202
        assert time.monotonic() - began < PROMPT_S  # otherwise when the crowd is hung up on
