"""Answers that hang on a write: no thread waits for them, and each request has one, whatever becomes of the write."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from time import sleep

import pytest
from flask import Blueprint, Response
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel

from bot.services.writings import Known
from handlers import web
from handlers.later import Later
from handlers.web import WebServer, create_app
from tests.handlers.serving import line_to, request_of, serve
from tests.waiting import wait_until

THREADS = 2
LARGE_BYTES = 12 * 2**20  # far more than is on its way to a client that does not read


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

        @self.door.get("/large")
        def large() -> Response:
            return Response(bytes(LARGE_BYTES))

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


class Stopping:
    """A server that is told to stop while answers are due."""

    def __init__(self, desk: Desk) -> None:
        self._server = WebServer(create_app([desk.door], lambda: None), "127.0.0.1:0", THREADS)
        self._server.start()
        self._thread = threading.Thread(target=self._server.stop)
        self.port = self._server.port
        self.has_looked = threading.Event()

    def look(self, seconds: float) -> None:
        """It has seen that it has to wait."""
        self.has_looked.set()
        sleep(seconds)

    def begin(self) -> None:
        """Let it stop; its threads have left when this returns."""
        self._thread.start()
        assert self.has_looked.wait(30)

    def end(self) -> None:
        """Wait for it."""
        if self._thread.ident is None:
            self._thread.start()
        self._thread.join(30)
        assert not self._thread.is_alive()


@pytest.fixture
def stopping(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stopping]:
    """A server with the desk, which has stopped in the end."""
    server = Stopping(desk)
    monkeypatch.setattr(web, "sleep", server.look)
    yield server
    server.end()


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


def test_an_answer_does_not_wait_for_the_next_one(desk: Desk, port: int) -> None:
    """What is known leaves at once, however long the write behind it takes."""
    with line_to(port) as line:
        line.write(2 * request_of("POST", "/write"))
        desk.awaited(1)[0].end()
        second = desk.awaited(2)[1]
        assert line.read().body == b"written"
        second.end()
        assert line.read().body == b"written"


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


def test_stopping_waits_for_answers_that_are_being_made(
    desk: Desk, stopping: Stopping, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write is over, and what is made of it is sent before the connection is closed."""

    def result(_write: Write) -> str:
        stopping.has_looked.clear()
        return "in time" if stopping.has_looked.wait(30) else "too late"

    with line_to(stopping.port) as line:
        line.write(request_of("POST", "/write"))
        write = desk.awaited(1)[0]
        monkeypatch.setattr(Write, "result", result)
        stopping.begin()
        write.end()
        assert line.read().body == b"in time"


def test_stopping_keeps_no_answer_back(desk: Desk, stopping: Stopping) -> None:
    """A request behind the one that is answered has no thread any more: the connection is closed with the answer."""
    with line_to(stopping.port) as line:
        line.write(2 * request_of("POST", "/write"))
        write = desk.awaited(1)[0]
        stopping.begin()
        write.end()
        assert line.read().body == b"written"
        with pytest.raises(ConnectionError):
            line.read()


def test_a_connection_that_breaks_ends_no_other(desk: Desk, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a client cannot be written to its connection is closed, and the loop, which wrote to it, goes on."""

    def vanish(_channel: HTTPChannel) -> None:
        raise OSError(errno.ETIMEDOUT, "the client's host does not answer")

    monkeypatch.setattr(HTTPChannel, "send_continue", vanish)
    half = request_of("POST", "/write", {"Expect": "100-continue", "Content-Length": "5"})
    with line_to(port) as line:
        line.write(request_of("POST", "/write") + half)
        desk.awaited(1)[0].is_given_up = True
        assert line.read().body == b"given up"
        with pytest.raises(ConnectionError):
            line.read()
    with line_to(port) as line:
        assert line.ask("GET", "/healthz").status == 200


def test_who_writes_waits_for_no_client(desk: Desk, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that does not read what it was answered before keeps a thread of the server's, not the writer's."""
    with line_to(port) as line:
        line.write(request_of("GET", "/large") + request_of("POST", "/write"))
        write = desk.awaited(1)[0]
        monkeypatch.setattr(Adjustments, "outbuf_high_watermark", 2**16)
        ending = threading.Thread(target=write.end, daemon=True)
        ending.start()
        ending.join(10)
        assert not ending.is_alive()
        assert len(line.read("GET").body) == LARGE_BYTES
        assert line.read().body == b"written"


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
