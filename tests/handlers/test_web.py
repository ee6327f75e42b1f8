"""The web server: it answers whoever asks properly, at once, whatever others do to it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
from flask import Blueprint, Response, request
from waitress.trigger import trigger

from handlers.web import MAX_BODY_BYTES, MAX_HEAD_BYTES, WebServer, create_app
from tests.handlers.serving import Line, chunked, line_to, request_of, serve
from tests.waiting import wait_until

THREADS = 2


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A server with a door that tells the size of what it got, and one that is broken."""
    door = Blueprint("test", __name__)

    @door.post("/size")
    def size() -> Response:
        return Response(str(len(request.get_data())))

    @door.route("/broken", methods=["GET", "POST"])
    def fail() -> Response:
        raise KeyError("a mistake of ours, with sesame in it")

    with serve([door], threads=THREADS) as bound:
        yield bound


def _is_answered(port: int) -> bool:
    with line_to(port) as line:
        return line.ask("GET", "/healthz").body == b"ok\n"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/"])
def test_operators_pages_answer(path: str, port: int) -> None:
    """GET gives the page and HEAD its headers alone."""
    with line_to(port) as line:
        page = line.ask("GET", path)
        head = line.ask("HEAD", path)
    assert (page.status, head.status) == (200, 200)
    assert page.body
    assert head.body == b""


def test_a_process_that_is_not_ready_says_why() -> None:
    """503 with the reason; it is alive all the same."""
    with serve([], problem="the database cannot be read") as port, line_to(port) as line:
        answer = line.ask("GET", "/readyz")
        assert (answer.status, answer.body) == (503, b"the database cannot be read\n")
        assert line.ask("GET", "/healthz").status == 200


def test_a_connection_takes_many_requests(port: int) -> None:
    """Requests one after the other, and two at once, are answered in order on one connection."""
    with line_to(port) as line:
        for number in range(5):
            assert line.ask("POST", "/size", body=b"x" * number).body == str(number).encode()
        line.write(request_of("POST", "/size", body=b"abc") + request_of("GET", "/healthz"))
        assert [line.read().body, line.read("GET").body] == [b"3", b"ok\n"]


def test_a_connection_ends_when_the_client_wants_it(port: int) -> None:
    """`Connection: close` is obeyed after the answer."""
    with line_to(port) as line:
        answer = line.ask("GET", "/healthz", {"Connection": "close"})
        assert answer.status == 200
        wait_until(lambda: not line.is_open())


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH"])
def test_a_wrong_method_is_named(method: str, port: int) -> None:
    """405 says what is allowed, and the connection goes on."""
    with line_to(port) as line:
        answer = line.ask(method, "/size")
        assert (answer.status, "POST" in answer.headers["Allow"]) == (405, True)
        assert line.ask("GET", "/healthz").status == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_mistake_of_ours_is_no_500(method: str, port: int) -> None:
    """Senders punish 500: a mistake is answered 503 with Retry-After, without its words, and the server goes on."""
    with line_to(port) as line:
        answer = line.ask(method, "/broken", body=b"x" if method == "POST" else b"")
        assert (answer.status, answer.headers["Retry-After"].isdigit()) == (503, True)
        assert b"sesame" not in answer.body
        assert line.ask("GET", "/healthz").status == 200


@pytest.mark.parametrize(
    "content",
    [
        b"nonsense\r\n\r\n",
        b"GET\r\n\r\n",
        b"POST /size HTTP/1.1\r\nHost: bot\r\nContent-Length: many\r\n\r\n",
        b"POST /size HTTP/1.1\r\nHost: bot\r\nContent-Length: -5\r\n\r\n",
        b"POST /size HTTP/1.1\r\nHost: bot\r\nTransfer-Encoding: chunked\r\n\r\nmany\r\nx\r\n0\r\n\r\n",
        b"POST /size HTTP/1.1\r\nHost: bot\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST /size HTTP/1.1\r\nHost: bot\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: bot\r\n bad: folded\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: bot\r\nX: " + b"x" * 40_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
    ids=["words", "verb", "length", "negative", "chunk", "coding", "smuggled", "folded", "headers", "tls"],
)
def test_what_is_no_http_is_refused(content: bytes, port: int) -> None:
    """A 4xx or the word that it cannot be done, never a 500, and the next client is answered."""
    with line_to(port) as line:
        line.write(content)
        status = line.read("GET").status
    assert status in {200, 400, 404, 431, 501} - (
        {200} if b"healthz" not in content and b"chunked" not in content else set()
    )
    assert _is_answered(port)


def test_a_length_beside_chunks_hides_no_request(port: int) -> None:
    """A proxy that goes by the length has let through one request; what is in its body is asked by nobody."""
    hidden = request_of("GET", "/metrics")
    told = {"Content-Length": str(5 + len(hidden)), "Transfer-Encoding": "chunked"}
    with line_to(port) as line:
        line.write(request_of("POST", "/size", told, chunked() + hidden))
        assert line.read().status == 400
        with pytest.raises(ConnectionError):
            line.read("GET")
    assert _is_answered(port)


def test_nobody_is_sent_on_to_the_host_they_name() -> None:
    """A path that nearly is one is none."""
    door = Blueprint("named", __name__)
    door.post("/named/<name>")(lambda name: name)
    answer = create_app([door], lambda: None).test_client().post("/named//one", headers={"Host": "elsewhere.example"})
    assert (answer.status_code, "Location" in answer.headers) == (404, False)


def test_a_head_has_a_limit(port: int) -> None:
    """A head of nearly 32 KiB is taken; a longer one is refused before it has ended."""
    beginning = b"GET /healthz HTTP/1.1\r\nHost: bot\r\nX: "
    with line_to(port) as line:
        line.write(beginning + b"x" * (MAX_HEAD_BYTES - 100) + b"\r\n\r\n")
        assert line.read("GET").status == 200
        line.write(beginning.ljust(MAX_HEAD_BYTES, b"x"))
        assert line.read("GET").status == 431
    assert _is_answered(port)


@pytest.mark.parametrize("over", [0, 1, 2, MAX_BODY_BYTES])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_has_a_limit(over: int, is_chunked: bool, port: int) -> None:
    """A body of 1 MiB is taken, a larger one gets 413, whether its length is told beforehand or not."""
    body = b"x" * (MAX_BODY_BYTES + over)
    headers = {"Transfer-Encoding": "chunked"} if is_chunked else {}
    with line_to(port) as line:
        try:
            line.write(request_of("POST", "/size", headers, chunked(body) if is_chunked else body))
        except ConnectionError:  # refused before it was taken whole: the answer is there all the same
            assert over > 1
        answer = line.read()
    assert answer.status == (413 if over else 200)


@pytest.mark.parametrize("over", [1, 9 * MAX_BODY_BYTES])
@pytest.mark.parametrize("expect", [{}, {"Expect": "100-continue"}], ids=["sends", "asks first"])
def test_a_length_that_is_too_much_is_refused_before_the_body(over: int, expect: dict[str, str], port: int) -> None:
    """Nobody has to send what will not be taken, nor is anybody asked to."""
    with line_to(port) as line:
        line.write(request_of("POST", "/size", {"Content-Length": str(MAX_BODY_BYTES + over), **expect}))
        assert line.read().status == 413
    assert _is_answered(port)


def test_a_chunk_that_is_too_much_is_refused_before_it_comes(port: int) -> None:
    """A chunk's length counts as soon as it is told."""
    with line_to(port) as line:
        line.write(request_of("POST", "/size", {"Transfer-Encoding": "chunked"}) + b"10\r\n" + b"x" * 16)
        line.write(b"\r\n%x\r\n" % (MAX_BODY_BYTES - 15))
        assert line.read().status == 413
    assert _is_answered(port)


def test_a_body_without_end_is_cut_off(port: int) -> None:
    """Whoever sends chunk after chunk is answered 413 and hung up on, soon after what is allowed."""
    chunk = chunked(b"x" * 65536)[: -len(chunked())]
    with line_to(port) as line:
        line.write(request_of("POST", "/size", {"Transfer-Encoding": "chunked"}))
        sent = 0
        with suppress(ConnectionError):
            while sent < 100 * MAX_BODY_BYTES:
                line.write(chunk)
                sent += 65536
        assert sent < 50 * MAX_BODY_BYTES  # most of it in the sockets' buffers
    assert _is_answered(port)


def test_a_client_that_asks_first_is_told_to_go_on(port: int) -> None:
    """`Expect: 100-continue` is answered before the body comes."""
    with line_to(port) as line:
        line.write(request_of("POST", "/size", {"Expect": "100-continue", "Content-Length": "3"}))
        line.write(b"abc")
        assert line.read().body == b"3"


def _half_open(kind: str) -> bytes:
    whole = request_of("POST", "/size", {"Content-Length": "100"}, b"x" * 50)
    return {"silent": b"", "headers": whole[:20], "body": whole, "chunks": _endless()}[kind]


def _endless() -> bytes:
    return request_of("POST", "/size", {"Transfer-Encoding": "chunked"}, chunked(b"x" * 50)[:-5])


@pytest.mark.parametrize("kind", ["silent", "headers", "body", "chunks"])
def test_half_open_connections_hold_nobody_up(kind: str, port: int) -> None:
    """Many clients that never finish, more than there are threads, and the next one is answered."""
    with ExitStack() as stack:
        lines = [stack.enter_context(line_to(port)) for _ in range(40)]
        for line in lines:
            line.write(_half_open(kind))
        assert all(_is_answered(port) for _ in range(10))
        assert all(line.is_open() for line in lines)


def test_a_slow_client_is_taken_as_it_comes(port: int) -> None:
    """A request byte by byte is answered when it is whole; others are answered in between."""
    content = request_of("POST", "/size", body=b"x" * 20)
    with line_to(port) as line:
        for index in range(len(content)):
            line.write(content[index : index + 1])
            if index % 40 == 0:
                assert _is_answered(port)
        assert line.read().body == b"20"


def test_a_client_that_leaves_early_is_not_missed(port: int) -> None:
    """Clients that hang up in the middle, or before they read, leave the server as it was."""
    for content in (_half_open("body"), request_of("GET", "/metrics") * 50):
        for _ in range(10):
            with line_to(port) as line:
                line.write(content)
    assert _is_answered(port)


def test_a_client_that_does_not_read_holds_nobody_up(port: int) -> None:
    """Answers that nobody takes wait in the server; the next client is answered."""
    with ExitStack() as stack:
        for _ in range(THREADS * 4):
            stack.enter_context(line_to(port)).write(request_of("GET", "/metrics") * 20)
        assert _is_answered(port)


def test_stopping_answers_what_is_under_way() -> None:
    """A request that has begun gets its answer; then nobody listens."""
    begun, release = threading.Semaphore(0), threading.Event()
    door = Blueprint("test", __name__)

    @door.post("/slow")
    def wait() -> Response:
        begun.release()
        release.wait(30)
        return Response("done")

    server = WebServer(create_app([door], lambda: None), "127.0.0.1:0", THREADS)
    server.start()
    line, idle = Line(server.port), Line(server.port)
    line.write(request_of("POST", "/slow"))
    assert begun.acquire(timeout=30)
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    release.set()
    assert line.read().body == b"done"
    stopping.join(30)
    assert not stopping.is_alive()
    with pytest.raises(ConnectionError):
        Line(server.port).ask("GET", "/healthz")
    line.close()
    idle.close()


def test_the_loop_may_be_gone_before_its_last_wake_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wake slow to be written, while the loop, woken by an earlier one, has let go and ended, hurts nobody."""
    write = trigger._physical_pull

    def write_late(self: trigger) -> None:
        write(self)
        assert wait_until(lambda: not self.thunks)
        write(self)

    server = WebServer(create_app([], lambda: None), "127.0.0.1:0", THREADS)
    server.start()
    monkeypatch.setattr(trigger, "_physical_pull", write_late)
    server.stop()
    with pytest.raises(ConnectionError):
        Line(server.port).ask("GET", "/healthz")
