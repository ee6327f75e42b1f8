"""Answers that hang on a write: no thread waits for them, and each request has one, whatever becomes of the write."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from flask import Blueprint, Response

from handlers.later import Known, Later
from handlers.web import WebServer, create_app
from tests.handlers.serving import line_to, request_of, serve
from tests.waiting import wait_until

THREADS = 2


class Write:
    """A write that ends, or is given up, when the test says so."""

    def __init__(self) -> None:
        self._has_ended = threading.Event()
        self._calls: list[Callable[[], object]] = []
        self.is_given_up = False

    def result(self) -> str:
        """Whether it ended; waits for that unless it is given up."""
        return "given up" if self.is_given_up else "written" if self._has_ended.wait(30) else "never"

    def is_over(self) -> bool:
        """Whether it ended, or nobody need wait any more."""
        return self._has_ended.is_set() or self.is_given_up

    def then(self, call: Callable[[], object]) -> None:
        """Call `call` at the end."""
        self._calls.append(call)

    @property
    def is_awaited(self) -> bool:
        """Whether somebody will be told of the end."""
        return bool(self._calls)

    def end(self) -> None:
        """It is written."""
        self._has_ended.set()
        for call in self._calls:
            call()


class Desk:
    """A door whose answers hang on writes, one a request, in the order in which they come."""

    def __init__(self) -> None:
        self.writes: list[Write] = []
        self.door = Blueprint("desk", __name__)

        @self.door.post("/write")
        def write() -> Response:
            self.writes.append(wanted := Write())
            return Later(wanted, lambda: Response(wanted.result()))

        @self.door.post("/broken")
        def fail() -> Response:
            return Later(Known(None), lambda: Response(str(1 // 0)))

    def begun(self) -> Write:
        """The first write, as soon as it has begun."""
        wait_until(lambda: self.writes)
        return self.writes[0]

    def awaited(self, count: int) -> list[Write]:
        """The writes, once so many of them are waited for."""
        wait_until(lambda: sum(one.is_awaited for one in self.writes) == count)
        return self.writes


@pytest.fixture
def desk() -> Desk:
    """Nothing is written yet."""
    return Desk()


@pytest.fixture
def port(desk: Desk) -> Iterator[int]:
    """The desk, behind fewer threads than there are writers."""
    with serve([desk.door], threads=THREADS) as bound:
        yield bound


def test_no_thread_waits_for_a_write(desk: Desk, port: int) -> None:
    """Far more than there are threads wait, and whoever asks for something else is answered."""
    with ExitStack() as stack:
        lines = [stack.enter_context(line_to(port)) for _ in range(5 * THREADS)]
        for line in lines:
            line.write(request_of("POST", "/write"))
        writes = desk.awaited(len(lines))
        with line_to(port) as other:
            assert other.ask("GET", "/healthz").status == 200
        for one in reversed(writes):
            one.end()
        assert {line.read().body for line in lines} == {b"written"}


def test_a_connection_goes_on_after_a_write(desk: Desk, port: int) -> None:
    """What was sent behind such a request is answered behind it."""
    with line_to(port) as line:
        line.write(request_of("POST", "/write") + request_of("GET", "/healthz") + request_of("POST", "/write"))
        desk.awaited(1)[0].end()
        desk.awaited(2)[1].end()
        assert [line.read().body, line.read("GET").body, line.read().body] == [b"written", b"ok\n", b"written"]


def test_who_has_waited_too_long_is_told(desk: Desk, port: int) -> None:
    """The answer comes without the write's end, and that answers nobody else when it comes after all."""
    with line_to(port) as line:
        line.write(request_of("POST", "/write"))
        first = desk.awaited(1)[0]
        first.is_given_up = True
        assert line.read().body == b"given up"
        line.write(request_of("POST", "/write"))
        second = desk.awaited(2)[1]
        first.end()
        second.end()
        assert line.read().body == b"written"
        assert line.ask("GET", "/healthz").status == 200


def test_a_client_that_left_is_not_waited_for(desk: Desk, port: int) -> None:
    """Its write ends as all others do, and the next client is served."""
    with line_to(port) as line:
        line.write(request_of("POST", "/write"))
        desk.awaited(1)
    desk.writes[0].end()
    with line_to(port) as line:
        line.write(request_of("POST", "/write"))
        desk.awaited(2)[1].end()
        assert line.read().body == b"written"


def test_stopping_waits_for_writes(desk: Desk) -> None:
    """What hangs on a write when the server is to stop is answered when that ends."""
    server = WebServer(create_app([desk.door], lambda: None), "127.0.0.1:0", THREADS)
    server.start()
    with line_to(server.port) as line:
        line.write(request_of("POST", "/write"))
        write = desk.awaited(1)[0]
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        wait_until(lambda: not _is_listening(server.port))
        write.end()
        assert line.read().body == b"written"
        stopping.join(30)
        assert not stopping.is_alive()


def test_a_mistake_in_an_answer_is_no_500(port: int) -> None:
    """503, as for any other mistake of ours, and the connection goes on."""
    with line_to(port) as line:
        answer = line.ask("POST", "/broken")
        assert (answer.status, answer.body) == (503, b"something went wrong here, try again\n")
        assert int(answer.headers["Retry-After"]) > 0
        assert line.ask("GET", "/healthz").status == 200


def test_a_server_that_cannot_wait_keeps_a_thread(desk: Desk) -> None:
    """Any other WSGI server gets the same answers from the application."""
    app = create_app([desk.door], lambda: None)
    told = threading.Thread(target=lambda: desk.begun().end())
    told.start()
    assert app.test_client().post("/write").data == b"written"
    told.join()
    assert app.test_client().post("/broken").status_code == 503


def _is_listening(port: int) -> bool:
    try:
        with line_to(port):
            return True
    except ConnectionError:
        return False
