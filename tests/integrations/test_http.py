"""Calls end at their deadline, whatever the other side does with the time."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
import requests

from bot.errors import OutcomeUnknown, Unavailable
from integrations import transport
from integrations.http import DEFAULT_PAUSE_S, Answer, call, pause_of, raise_for_status
from integrations.transport import together
from tests.integrations.dripping import Serve

DEADLINE_S = 0.5
SLACK_S = 20.0  # what is not cut goes on for half a minute at least; this much is for a machine that is busy
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
DRIPS = {
    "silence": (b"", b""),
    "status": (b"HTTP/1.1 2", b"0"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"x-drop: 1\r\n"),
    "body": (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x"),
    "body-without-length": (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
}


@pytest.fixture
def tls(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """The server's side of TLS; everybody trusts it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    return context


@pytest.mark.parametrize("drip", DRIPS)
@pytest.mark.parametrize("is_secure", [False, True], ids=["http", "https"])
def test_an_answer_that_drips_is_cut_at_the_deadline(
    session: requests.Session, serve: Serve, request: pytest.FixtureRequest, drip: str, is_secure: bool
) -> None:
    """Each byte that comes buys no more time; what was cut off is no answer, however whole it looks.

    The reason tells that we hung up: what was asked for may still be done.
    """
    server = serve(*DRIPS[drip], tls=request.getfixturevalue("tls") if is_secure else None)
    began = time.monotonic()
    with pytest.raises(OutcomeUnknown) as caught:
        call(session, "slack", "POST", server.url, deadline_s=DEADLINE_S)
    assert caught.value.reason == "timeout"
    assert DEADLINE_S * 0.9 <= time.monotonic() - began < DEADLINE_S + SLACK_S


def test_a_handshake_that_does_not_end_is_cut_at_the_deadline(
    session: requests.Session, serve: Serve, certificate: Path
) -> None:
    """A server that takes the connection and says nothing in TLS carried nothing out."""
    server = serve(b"", b"")
    began = time.monotonic()
    with pytest.raises(Unavailable):
        call(session, "slack", "POST", server.url.replace("http:", "https:"), deadline_s=DEADLINE_S)
    assert time.monotonic() - began < DEADLINE_S + SLACK_S


def test_a_name_that_is_not_found_in_time_ends_at_the_deadline(
    session: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's look-up knows no deadline; nothing was carried out."""
    is_over = threading.Event()

    def hang(*_arguments: object, **_options: object) -> None:
        is_over.wait(30)
        raise socket.gaierror("too late")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    began = time.monotonic()
    with pytest.raises(Unavailable):
        call(session, "slack", "POST", "http://slack.invalid/", deadline_s=DEADLINE_S)
    is_over.set()
    assert time.monotonic() - began < DEADLINE_S + SLACK_S


def test_credentials_of_a_call_stay_though_a_netrc_has_others(
    session: requests.Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever runs the bot may have a ~/.netrc for the same host."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine ci.example login somebody password else\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(netrc))
    asked = requests.Request("GET", "https://ci.example/", headers={"Authorization": "Bearer ours"})
    assert session.prepare_request(asked).headers["Authorization"] == "Bearer ours"


def test_headers_that_make_no_sense_tell_no_secret(
    session: requests.Session, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """Addresses to answer at are permissions, and what follows a broken line may be a cookie."""
    server = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nno header\r\nSet-Cookie: sesame\r\n\r\nok", b"")
    assert call(session, "slack", "POST", f"{server.url}actions/T1/sesame").body == b"ok"
    assert "sesame" not in caplog.text


def test_calls_that_belong_together_end_together(session: requests.Session, serve: Serve) -> None:
    """An operation of several calls has one deadline; a call that has no time left is not begun."""
    server = serve(*DRIPS["headers"])
    began = time.monotonic()
    with together(DEADLINE_S):
        with pytest.raises(OutcomeUnknown):
            call(session, "slack", "POST", server.url)
        with pytest.raises(Unavailable) as caught:
            call(session, "slack", "POST", server.url)
    assert caught.value.reason == "deadline"
    assert time.monotonic() - began < DEADLINE_S + SLACK_S
    assert server.connections == 1


@pytest.mark.parametrize("is_secure", [False, True], ids=["http", "https"])
def test_a_connection_is_kept_and_one_that_was_cut_is_not(
    session: requests.Session, serve: Serve, request: pytest.FixtureRequest, is_secure: bool
) -> None:
    """Calls in a row share a connection; after one that was cut the next gets a good one."""
    server = serve(OK, b"", tls=request.getfixturevalue("tls") if is_secure else None)
    for _ in range(3):
        assert call(session, "slack", "POST", server.url).body == b"ok"
    assert server.connections == 1
    server.first = OK[:-1]
    with pytest.raises(OutcomeUnknown):
        call(session, "slack", "POST", server.url, deadline_s=DEADLINE_S)
    server.first = OK
    assert call(session, "slack", "POST", server.url, deadline_s=30).body == b"ok"
    assert server.connections == 2


@pytest.mark.parametrize("is_secure", [False, True], ids=["http", "https"])
def test_a_connection_that_was_idle_for_long_is_not_trusted(
    session: requests.Session,
    serve: Serve,
    request: pytest.FixtureRequest,
    is_secure: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What lies between may have forgotten it: the call would be in doubt, and nothing was wrong."""
    server = serve(OK, b"", tls=request.getfixturevalue("tls") if is_secure else None)
    assert call(session, "slack", "POST", server.url).body == b"ok"
    monkeypatch.setattr(transport, "IDLE_S", 0.0)
    assert call(session, "slack", "POST", server.url).body == b"ok"
    assert server.connections == 2


def test_nobody_there_is_certainly_nothing_done(session: requests.Session) -> None:
    """A refused connection, an unknown name: the call can be made again."""
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))  # taken, and nobody listens there
        for url in (f"http://127.0.0.1:{unheard.getsockname()[1]}/", "http://name.invalid/"):
            with pytest.raises(Unavailable):
                call(session, "slack", "POST", url)


def test_a_certificate_that_nobody_trusts_is_certainly_nothing_done(
    session: requests.Session, serve: Serve, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request had not been sent: a person who asked for a build is not told that it may have started."""
    server = serve(OK, b"", tls=tls)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(Unavailable):
        call(session, "buildbot", "POST", server.url)


@pytest.mark.parametrize("status", [301, 302, 307, 407, 408])
def test_what_stands_in_between_ends_nothing_for_good(status: int) -> None:
    """A login page, a proxy's own password: not the system's word, and it may be gone a minute later."""
    with pytest.raises(Unavailable):
        raise_for_status("dingtalk", Answer(status, {}, b""), changes=True)


@pytest.mark.parametrize(
    ("asked", "pause_s"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("3600", 3600.0),
        ("", DEFAULT_PAUSE_S),
        ("soon", DEFAULT_PAUSE_S),
        ("Sat, 21 Nov 2026 04:00:30 GMT", DEFAULT_PAUSE_S),
        ("-3", DEFAULT_PAUSE_S),
        ("0", DEFAULT_PAUSE_S),
        ("nan", DEFAULT_PAUSE_S),
        ("inf", DEFAULT_PAUSE_S),
        ("1e300", DEFAULT_PAUSE_S),
        ("99999999999", DEFAULT_PAUSE_S),
    ],
)
def test_a_pause_is_believed_when_it_makes_sense(asked: str, pause_s: float) -> None:
    """What would be silence for years, or none at all, counts as if nothing had been said."""
    assert pause_of({"Retry-After": asked}) == pause_s
