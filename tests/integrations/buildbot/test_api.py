"""Login, sessions and broken answers of Buildbot's API."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from bot.errors import AuthFailed, DestinationGone, IntegrationError, OutcomeUnknown, Rejected, Unavailable
from integrations.buildbot.api import BuildbotApi, Deadline
from integrations.transport import open_session
from tests.integrations.buildbot.stand_in import URL, StandIn
from tests.listening import Listening, QuietHandler

REBUILT = [2, {"7": 2}]
BUILDERS = b'{"builders": [{"builderid": 3, "name": "user-service"}]}'


class Forgetful(QuietHandler):
    """A Buildbot that loses the body of its first answer, and keeps a connection open if that is not declined."""

    protocol_version = "HTTP/1.1"
    asked: list[str]

    def respond(self) -> None:
        """See `QuietHandler`."""
        self.asked.append(self.command)
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.send_response(200)
        self.send_header("Content-Length", str(len(BUILDERS)))
        self.end_headers()
        if len(self.asked) > 1:
            self.wfile.write(BUILDERS)
        elif self.command == "POST":
            self.close_connection = True


@pytest.fixture
def forgetful() -> Iterator[tuple[BuildbotApi, list[str]]]:
    """Calls to such a Buildbot without a login, and the methods it was asked with."""
    asked: list[str] = []
    server = Listening(type("Asked", (Forgetful,), {"asked": asked}))
    with open_session() as session:
        yield BuildbotApi(session, server.url, None, None), asked
    server.close()


def test_one_login_serves_many_calls(api: BuildbotApi, stand_in: StandIn) -> None:
    """The session cookie is kept and sent with each later call."""
    for _ in range(3):
        assert api.control("builds/1", "rebuild", {}, Deadline()) == REBUILT
    assert stand_in.logins == 1
    assert {call.headers["cookie"] for call in stand_in.calls if call.method == "POST"} == {"TWISTED_SESSION=session-1"}


def test_reading_needs_no_login(api: BuildbotApi, stand_in: StandIn) -> None:
    """Wrong credentials do not keep cards from being filled where everybody may read."""
    stand_in.password = "changed"
    assert api.row("builders/user-service", "builders", Deadline())["name"] == "user-service"


def test_an_expired_session_is_renewed_once(api: BuildbotApi, stand_in: StandIn) -> None:
    """After Buildbot has forgotten the session the call goes through with a new one."""
    api.control("builds/1", "rebuild", {}, Deadline())
    stand_in.forget_sessions()
    assert api.control("builds/1", "rebuild", {}, Deadline()) == REBUILT
    assert stand_in.paths("GET").count("/auth/login") == 2
    assert len(stand_in.paths("POST")) == 3


def test_a_login_that_does_not_help_ends_as_a_refusal(api: BuildbotApi, stand_in: StandIn) -> None:
    """A user without the role gets two tries and then a clear failure; nothing loops."""
    stand_in.answers["POST builds/1"] = (403, {"error": {"code": -32600, "message": "you need to have role 'admins'"}})
    with pytest.raises(AuthFailed, match="http_403"):
        api.control("builds/1", "rebuild", {}, Deadline())
    assert len(stand_in.paths("POST")) == 2


def test_a_wrong_password_is_said(session: requests.Session, stand_in: StandIn) -> None:
    """The credential's failure names neither user nor password."""
    api = BuildbotApi(session, URL, "bot", "wrong-password")
    with pytest.raises(AuthFailed) as caught:
        api.control("builds/1", "rebuild", {}, Deadline())
    assert "wrong-password" not in str(caught.value)
    assert stand_in.paths("POST") == []


def test_many_threads_share_one_login(api: BuildbotApi, stand_in: StandIn) -> None:
    """Threads that are refused at the same time log in once between them."""
    api.control("builds/1", "rebuild", {}, Deadline())
    stand_in.forget_sessions()
    gate = threading.Barrier(8)
    results: list[Any] = []

    def call() -> None:
        gate.wait(30)
        results.append(api.control("builds/1", "rebuild", {}, Deadline()))

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert results == [REBUILT] * 8
    assert stand_in.paths("GET").count("/auth/login") == 2


@pytest.mark.parametrize(
    ("answer", "error", "reason"),
    [
        ((500, {"error": {"code": -32603, "message": "TypeError"}}), OutcomeUnknown, "http_500"),
        ((502, b"<html>"), OutcomeUnknown, "http_502"),
        ((503, b"<html>"), Unavailable, "http_503"),
        ((501, {"error": {"code": -32601, "message": "invalid control action"}}), Rejected, "unknown_method"),
        ((404, {"error": "not found"}), DestinationGone, "http_404"),
        ((400, {"error": {"code": -32602, "message": {"version": "no such version"}}}), Rejected, "invalid_parameters"),
        ((400, b"<html>"), Rejected, "http_400"),
        ((200, b"<html>"), OutcomeUnknown, "bad_answer"),
        ((200, ["surprise"]), OutcomeUnknown, "bad_answer"),
        (requests.ReadTimeout("slow"), OutcomeUnknown, "timeout"),
        (requests.ConnectionError("Connection refused"), Unavailable, "unreachable"),
        (requests.ConnectTimeout("no route"), Unavailable, "unreachable"),
    ],
)
def test_a_control_call_that_fails_says_whether_it_may_have_happened(
    api: BuildbotApi, stand_in: StandIn, answer: Any, error: type[IntegrationError], reason: str
) -> None:
    """What was certainly not done may be tried again; what may have been done is looked for first."""
    stand_in.answers["POST builds/1"] = answer
    with pytest.raises(error) as caught:
        api.control("builds/1", "rebuild", {}, Deadline())
    assert caught.value.reason == reason


@pytest.mark.parametrize("page", [b"<html>404 Not Found</html>", b"[]", b""])
def test_a_proxy_that_knows_no_such_page_takes_nothing_away(api: BuildbotApi, stand_in: StandIn, page: bytes) -> None:
    """Only Buildbot itself can say that a build or a request is gone: it always says so in JSON."""
    stand_in.answers["GET buildrequests/9"] = (404, page)
    with pytest.raises(Unavailable) as caught:
        api.row("buildrequests/9", "buildrequests", Deadline())
    assert caught.value.reason == "http_404"


def test_what_buildbot_says_of_a_parameter_reaches_the_person(api: BuildbotApi, stand_in: StandIn) -> None:
    """A refused value is explained in Buildbot's own words."""
    stand_in.answers["POST forceschedulers/force"] = (
        400,
        {"error": {"code": -32602, "message": {"version": "version:'a b' does not match pattern"}}},
    )
    with pytest.raises(Rejected) as caught:
        api.control("forceschedulers/force", "force", {"version": "a b"}, Deadline())
    assert caught.value.detail == "version:'a b' does not match pattern"


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"<html>not Buildbot</html>"),
        (200, {"builders": "none"}),
        (200, {"builders": [1]}),
        (200, []),
        (200, b"[" * 100_000),
        (500, {"error": "TypeError"}),
        requests.ReadTimeout("slow"),
    ],
)
def test_a_read_that_fails_may_be_repeated(api: BuildbotApi, stand_in: StandIn, answer: Any) -> None:
    """Whatever else answers at the address, the reader's failure is an error of its own kind, never a crash."""
    stand_in.answers["GET builders/user-service"] = answer
    with pytest.raises(Unavailable):
        api.row("builders/user-service", "builders", Deadline())


def test_a_read_whose_body_was_lost_is_made_once_more(forgetful: tuple[BuildbotApi, list[str]]) -> None:
    """The lost body shows at once, and nobody hears of it."""
    api, asked = forgetful
    assert api.row("builders/user-service", "builders", Deadline())["builderid"] == 3
    assert asked == ["GET", "GET"]


def test_a_change_whose_answer_was_lost_is_not_made_again(forgetful: tuple[BuildbotApi, list[str]]) -> None:
    """Nobody knows whether it was carried out."""
    api, asked = forgetful
    with pytest.raises(OutcomeUnknown):
        api.control("builds/1", "rebuild", {}, Deadline())
    assert asked == ["POST"]


def test_an_operation_ends_in_time(api: BuildbotApi, stand_in: StandIn) -> None:
    """No call is begun when the time of the whole operation is up."""
    with pytest.raises(Unavailable, match="deadline"):
        api.row("builders/user-service", "builders", Deadline(0.0))
    assert stand_in.calls == []
