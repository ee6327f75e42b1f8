"""Addresses of a deployed service, against real servers: down, slow, cut off, wrong, endless, and well."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bot.errors import IntegrationError, Rejected, Unavailable
from bot.ports.metrics import Reply
from integrations.probes import MAX_TEXT_BYTES, Probes
from tests.answering import Answer, Answering
from tests.integrations.dripping import Serve

TIMEOUT_S = 0.5
SLACK_S = 20.0  # what is not cut goes on for half a minute at least; this much is for a machine that is busy
PLAIN = {"Content-Type": "text/plain; charset=utf-8"}


@pytest.fixture
def probes() -> Probes:
    """The prober under test."""
    return Probes()


@pytest.fixture
def server() -> Iterator[Answering]:
    """Answers every request with 200 and a text, until the test says otherwise."""
    answering = Answering(lambda _: Answer(200, "all is well: 好", PLAIN))
    yield answering
    answering.close()


@pytest.fixture
def unheard() -> Iterator[int]:
    """A port at which nobody listens: it is taken, so that nobody else begins to."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def resetting() -> Iterator[int]:
    """The port of a server that takes each connection and resets it."""
    listener = socket.create_server(("127.0.0.1", 0))

    def reset() -> None:
        with suppress(OSError):
            while True:
                taken, _ = listener.accept()
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                taken.close()

    thread = threading.Thread(target=reset)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(30)


def test_a_page_is_read(probes: Probes, server: Answering) -> None:
    """Status and text; nothing is sent along that was not asked for."""
    assert probes.http(f"{server.url}/health?deep=1", timeout_s=30) == Reply(200, "all is well: 好")
    (asked,) = server.asked
    assert (asked.method, asked.target) == ("GET", "/health?deep=1")
    assert set(asked.headers) == {"host", "user-agent", "accept", "accept-encoding", "connection"}


def test_each_try_makes_a_connection_of_its_own(probes: Probes, server: Answering) -> None:
    """A service that takes no new connections is down, whoever is still connected; cookies are not handed back."""
    server.answer = lambda _: Answer(200, "", {"Set-Cookie": "session=1"})
    for _ in range(2):
        assert probes.http(server.url, timeout_s=30).status == 200
    assert [asked.headers["connection"] for asked in server.asked] == ["close", "close"]
    assert "cookie" not in server.asked[1].headers


def test_a_redirect_is_an_answer_of_its_own(probes: Probes, server: Answering) -> None:
    """A page that leads to a login is not the page."""
    server.answer = lambda _: Answer(302, "", {"Location": "/login"})
    assert probes.http(server.url, timeout_s=30) == Reply(302)
    assert len(server.asked) == 1


def test_a_wrong_status_is_an_answer(probes: Probes, server: Answering) -> None:
    """With what the service says of it."""
    server.answer = lambda _: Answer(503, "migrations pending", PLAIN)
    assert probes.http(server.url, timeout_s=30) == Reply(503, "migrations pending")


def test_a_long_text_is_read_only_in_its_beginning(probes: Probes, server: Answering) -> None:
    """Ten megabytes cost neither time nor memory."""
    server.answer = lambda _: Answer(200, b"ok " + b"x" * 10_000_000, PLAIN)
    reply = probes.http(server.url, timeout_s=30)
    assert (reply.status, reply.problem) == (200, "")
    assert reply.text.startswith("ok x")
    assert len(reply.text) == MAX_TEXT_BYTES


def test_what_is_no_text_is_read_all_the_same(probes: Probes, server: Answering) -> None:
    """Bytes that are no UTF-8 are replaced."""
    server.answer = lambda _: Answer(200, b"\xff\xfeok", {"Content-Type": "text/plain; charset=nonsense"})
    assert probes.http(server.url, timeout_s=30).text.endswith("ok")


@pytest.mark.parametrize(
    ("first", "drop"),
    [
        (b"", b""),
        (b"HTTP/1.1 2", b"0"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
    ],
    ids=["silence", "status", "body", "body-without-length"],
)
def test_a_slow_answer_is_none(probes: Probes, serve: Serve, first: bytes, drop: bytes) -> None:
    """From the first byte to the last, within the time."""
    began = time.monotonic()
    assert probes.http(serve(first, drop).url, timeout_s=TIMEOUT_S) == Reply(problem="timeout")
    assert TIMEOUT_S * 0.9 <= time.monotonic() - began < TIMEOUT_S + SLACK_S


def test_nobody_there_is_refused(probes: Probes, unheard: int) -> None:
    """For a page and for a port alike."""
    assert probes.http(f"http://127.0.0.1:{unheard}/", timeout_s=30) == Reply(problem="refused")
    assert probes.tcp("127.0.0.1", unheard, timeout_s=30) == Reply(problem="refused")


def test_a_connection_that_is_cut_is_reset(probes: Probes, resetting: int) -> None:
    """A page needs more than a connection."""
    assert probes.http(f"http://127.0.0.1:{resetting}/", timeout_s=30) == Reply(problem="reset")


def test_an_open_port_is_open(probes: Probes, server: Answering) -> None:
    """By name as well; whichever of its addresses answers."""
    port = int(server.url.rpartition(":")[2])
    assert probes.tcp("127.0.0.1", port, timeout_s=30) == Reply()
    assert probes.tcp("localhost", port, timeout_s=30) == Reply()
    assert server.asked == []


def test_a_port_that_lets_nobody_in_is_too_slow(probes: Probes) -> None:
    """A queue that is full answers nothing at all."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = []
        try:
            for _ in range(4):  # more than the queue takes
                waiting.append(sock := socket.socket())
                sock.setblocking(False)
                sock.connect_ex(listener.getsockname())
            reply = probes.tcp("127.0.0.1", listener.getsockname()[1], timeout_s=TIMEOUT_S)
        finally:
            for sock in waiting:
                sock.close()
    assert reply == Reply(problem="timeout")


def test_a_certificate_that_is_not_good_is_a_failure(probes: Probes, serve: Serve, certificate: Path) -> None:
    """Visitors would be turned away as well."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"", tls=context)
    assert probes.http(server.url, timeout_s=30) == Reply(problem="tls")


def test_a_trusted_certificate_is_good(
    probes: Probes, serve: Serve, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's and the environment's authorities are trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    server = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"", tls=context)
    assert probes.http(server.url, timeout_s=30) == Reply(200, "ok")


@pytest.mark.parametrize(
    "try_it",
    [
        lambda probes: probes.http("http://no-such-host.example/", timeout_s=30),
        lambda probes: probes.tcp("no-such-host.example", 80, timeout_s=30),
    ],
    ids=["http", "tcp"],
)
def test_a_name_that_nobody_knows_is_no_failure_of_the_service(
    probes: Probes, monkeypatch: pytest.MonkeyPatch, try_it: Callable[[Probes], Reply]
) -> None:
    """Nothing was tried, so nothing is known."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(Unavailable, match="unknown_host"):
        try_it(probes)


def test_an_address_that_is_none_cannot_be_tried(probes: Probes) -> None:
    """A template filled with nonsense is the configuration's fault."""
    with pytest.raises(Rejected, match="bad_address"):
        probes.http("http://:80/", timeout_s=30)


def test_a_proxy_that_is_down_is_not_the_service(probes: Probes, unheard: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's proxy stands between."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{unheard}")
    with pytest.raises(IntegrationError, match="proxy"):
        probes.http("http://service.example/", timeout_s=30)
