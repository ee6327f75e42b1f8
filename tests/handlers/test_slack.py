"""Slack's signed requests through the front door: Flask, the signature, Bolt, the inbox."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client import REGISTRY
from slack_sdk import WebClient
from werkzeug.test import EnvironBuilder, TestResponse

from bot.domain.commands import Actor, ReplyTo
from bot.errors import DestinationGone, NotPermitted
from handlers.gate import Gate
from handlers.slack import build_app
from handlers.slack_http import MOST_BYTES, PATH, flask_blueprint
from handlers.slack_payloads import Own
from handlers.slack_windows import Windows
from tests.handlers.slack_fakes import (
    NOW_S,
    SECRET,
    FakeClock,
    FakeInbox,
    FakeModals,
    FakeViews,
    Stored,
    command,
    encoded,
    event,
    press,
    signed,
)

ROOT = Path(__file__).parents[2]
SHOW = "show user-service#12"
REJECT = "reject user-service#12"


@pytest.fixture
def inbox() -> FakeInbox:
    """An empty inbox."""
    return FakeInbox()


@pytest.fixture
def views() -> FakeViews:
    """What windows show."""
    return FakeViews()


@pytest.fixture
def modals() -> FakeModals:
    """No windows yet."""
    return FakeModals()


@pytest.fixture
def silent_port() -> Iterator[socket.socket]:
    """A port that takes connections and never answers: who calls it before acknowledging hangs."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


@pytest.fixture
def door(
    inbox: FakeInbox, views: FakeViews, modals: FakeModals, silent_port: socket.socket
) -> Iterator[Callable[..., FlaskClient]]:
    """Builds the web application with Slack's door in it."""
    opened: list[Windows] = []

    def build(locale: str = "en", own: Own | None = None, waited_s: Callable[[], float] = lambda: 0.0) -> FlaskClient:
        api = WebClient("xoxb-test", base_url=f"http://127.0.0.1:{silent_port.getsockname()[1]}/", retry_handlers=[])
        windows = Windows(inbox, views, modals)
        opened.append(windows)
        app = build_app(
            client=api,
            command="/ship",
            inbox=inbox,
            windows=windows,
            clock=FakeClock(),
            own=own or Own("T1", "UBOT"),
            locale=locale,
        )
        flask = Flask("test")
        flask.register_blueprint(flask_blueprint(app, SECRET, FakeClock(), gate=Gate(8, waited_s)))
        return flask.test_client()

    yield build
    for windows in opened:
        windows.stop()


@pytest.fixture
def client(door: Callable[..., FlaskClient]) -> FlaskClient:
    """The door with the defaults."""
    return door()


def post(client: FlaskClient, payload: dict[str, Any]) -> TestResponse:
    """Send a payload as Slack does, and take the whole answer."""
    body = encoded(payload)
    return client.post(PATH, data=body, headers=signed(body), buffered=True)


def changed(**changes: str | None) -> dict[str, str]:
    """Good headers for the body `{}` with some changed or (None) left out."""
    headers = signed("{}")
    for name, value in changes.items():
        headers[f"X-Slack-{name.replace('_', '-').title()}"] = value or ""
    return {name: value for name, value in headers.items() if value}


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "missing_timestamp"),
        (changed(request_timestamp=None), "missing_timestamp"),
        (changed(request_timestamp="soon"), "malformed_timestamp"),
        (changed(request_timestamp="1e9"), "malformed_timestamp"),
        (changed(request_timestamp="-1"), "malformed_timestamp"),
        (changed(request_timestamp="9" * 400), "malformed_timestamp"),
        (signed("{}", at=str(int(NOW_S) - 301)), "stale_timestamp"),
        (signed("{}", at=str(int(NOW_S) + 301)), "stale_timestamp"),
        (changed(signature=None), "missing_signature"),
        (changed(signature="v0=00"), "bad_signature"),
        (changed(signature="v0=é"), "bad_signature"),
        (signed("{}", secret="another"), "bad_signature"),
        (signed("{ }"), "bad_signature"),
    ],
)
def test_what_slack_did_not_sign_is_refused_with_the_reason(
    client: FlaskClient, inbox: FakeInbox, headers: dict[str, str], reason: str
) -> None:
    """Whoever is not Slack gets 401, learns which header was wrong, and changes nothing."""
    response = client.post(PATH, data="{}", headers=headers)
    assert (response.status_code, response.get_json()) == (401, {"error": reason})
    assert inbox.offered == 0


def test_answers_are_counted_as_those_of_other_doors(client: FlaskClient, inbox: FakeInbox) -> None:
    """Strangers as `refused`, whatever is wrong with their signature; what is taken, and what is to come again."""

    def counted(status: str, reason: str) -> float:
        labels = {"source": "slack", "status": status, "reason": reason}
        return REGISTRY.get_sample_value("shipmate_webhooks_total", labels) or 0.0

    expected = {("401", "refused"): 2, ("200", "accepted"): 1, ("503", "not_stored"): 1}
    before = {labels: counted(*labels) for labels in expected}
    for headers in (changed(signature="v0=00"), {}):
        client.post(PATH, data="{}", headers=headers)
    post(client, command())
    inbox.refusals = 1
    post(client, press("retry user-service#12"))
    assert {labels: counted(*labels) - known for labels, known in before.items()} == expected


def test_an_empty_body_needs_a_signature_too(client: FlaskClient) -> None:
    """An empty body is refused unsigned; signed, it is no payload."""
    assert client.post(PATH, data="").status_code == 401
    assert client.post(PATH, data="", headers=signed("")).status_code == 400


def test_bytes_that_are_no_text_are_refused(client: FlaskClient) -> None:
    """A body that is not UTF-8 does not break the check."""
    assert client.post(PATH, data=b"\xff\xfe", headers=signed("{}")).status_code == 401


@pytest.mark.parametrize("is_length_told", [True, False])
def test_a_body_over_one_mebibyte_is_refused(client: FlaskClient, is_length_told: bool) -> None:
    """An oversized body gets 413 before its signature is looked at, even where its length is not told."""
    body = "x" * (MOST_BYTES + 1)
    environ = EnvironBuilder(PATH, method="POST", data=body, headers=signed(body)).get_environ()
    if not is_length_told:
        del environ["CONTENT_LENGTH"]
        environ["wsgi.input_terminated"] = True
    response = client.open(environ)
    assert (response.status_code, response.get_json()) == (413, {"error": "too_large"})


@pytest.mark.parametrize(
    "body",
    [
        "{",
        "[]",
        "{}",
        "payload=%7B",
        "payload=5",
        "payload=",
        "[" * 200_000,
        '{"type": "event_callback", "event": "x"}',
    ],
    ids=["cut", "list", "empty", "cut_form", "number", "empty_form", "deep", "wrong_shape"],
)
def test_a_signed_body_that_is_no_payload_is_refused(client: FlaskClient, inbox: FakeInbox, body: str) -> None:
    """What cannot be read is the sender's mistake, said with 400 and the reason."""
    response = client.post(PATH, data=body, headers=signed(body))
    assert (response.status_code, response.get_json()) == (400, {"error": "malformed_payload"})
    assert inbox.offered == 0


@pytest.mark.parametrize("typed", ["run user-service payload=1", "run user-service payload={}", "status 50%&a=b"])
def test_any_words_reach_the_inbox(client: FlaskClient, inbox: FakeInbox, typed: str) -> None:
    """Words that mean something in a form, or to Bolt, are typed like others."""
    assert post(client, command(text=typed)).status_code == 200
    assert [one.typed for one in inbox.stored] == [typed]


def test_slack_can_verify_the_address(client: FlaskClient) -> None:
    """The challenge comes back, so that the address can be saved in Slack."""
    response = post(client, {"type": "url_verification", "challenge": "abc"})
    assert (response.status_code, response.get_json()) == (200, {"challenge": "abc"})


def test_a_slash_command_is_stored_and_acknowledged_silently(client: FlaskClient, inbox: FakeInbox) -> None:
    """The asker's words arrive as typed, with where and how long they can be answered."""
    response = post(client, command(text=" status  a&lt;b "))
    assert (response.status_code, response.text) == (200, "")
    assert inbox.stored == [
        Stored(
            "status  a&lt;b",
            "slack:command:1.2.abc",
            Actor("slack:U1", "alice", team="T1"),
            ReplyTo("slack", "slack:T1/C1", url="https://hooks.slack.com/commands/x", url_expires_at=NOW_S + 1800),
            "typed",
        )
    ]


def test_nothing_is_called_before_the_acknowledgement(
    client: FlaskClient, inbox: FakeInbox, silent_port: socket.socket
) -> None:
    """A Slack that does not answer delays no acknowledgement: nobody even connects to it."""
    for payload in (command(), press(), event("app_mention", text="<@UBOT> status")):
        assert post(client, payload).status_code == 200
    assert len(inbox.stored) == 3
    with pytest.raises(BlockingIOError):
        silent_port.accept()


@pytest.mark.parametrize(("locale", "words"), [("en", "please try again"), ("zh-CN", "请再试一次")])
def test_a_command_that_cannot_be_stored_says_so(
    door: Callable[..., FlaskClient], inbox: FakeInbox, locale: str, words: str
) -> None:
    """Slack sends no command twice, so the person is asked to."""
    inbox.refusals = 1
    response = post(door(locale), command())
    assert response.status_code == 200
    assert words in response.text


@pytest.mark.parametrize("payload", [press(), event("app_mention", text="<@UBOT> status")])
def test_what_cannot_be_stored_is_not_acknowledged_and_succeeds_later(
    client: FlaskClient, inbox: FakeInbox, payload: dict[str, Any]
) -> None:
    """Without the database a press or an event fails visibly; sent again, it is taken."""
    inbox.refusals = 1
    assert post(client, payload).status_code == 503
    assert post(client, payload).status_code == 200
    assert len(inbox.stored) == 1


def test_who_comes_when_the_database_does_not_keep_up_comes_again(
    door: Callable[..., FlaskClient], inbox: FakeInbox
) -> None:
    """Nothing is stored or read, not even a signature; afterwards it is taken."""
    pressure = [60.0]
    client = door(waited_s=lambda: pressure[0])
    for answer in (post(client, press()), client.post(PATH, data=b"{}")):
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert inbox.stored == []
    pressure[0] = 0.0
    assert post(client, press()).status_code == 200
    assert len(inbox.stored) == 1


@pytest.mark.parametrize("payload", [command(), press(), event("app_mention", text="<@UBOT> status")])
def test_the_same_request_twice_is_one_command(client: FlaskClient, inbox: FakeInbox, payload: dict[str, Any]) -> None:
    """A repeated delivery is acknowledged and stored once."""
    assert [post(client, payload).status_code for _ in range(2)] == [200, 200]
    assert (inbox.offered, len(inbox.stored)) == (2, 1)


def test_two_peoples_presses_are_two_commands(client: FlaskClient, inbox: FakeInbox) -> None:
    """Whoever presses first is decided later: both are heard, even in the same microsecond and by a long id."""
    for user in ("U1", "U2"):
        assert post(client, press(user=user, action_id="ship:" + "x" * 250)).status_code == 200
    assert [one.actor.account for one in inbox.stored] == ["slack:U1", "slack:U2"]
    assert len({one.dedup_key[:200] for one in inbox.stored}) == 2


def test_a_press_is_acknowledged_without_a_body(client: FlaskClient, inbox: FakeInbox) -> None:
    """A button's acknowledgement says nothing: Slack would ignore a response_action there."""
    response = post(client, press())
    assert (response.status_code, response.data) == (200, b"")
    stored = inbox.stored[0]
    assert (stored.typed, stored.via) == ("retry user-service#12", "press")
    assert stored.dedup_key == "slack:press:T1:C1:100.1:ship:retry:200.2:U1"
    assert stored.reply_to.url == "https://hooks.slack.com/actions/x"


@pytest.mark.parametrize(
    "payload",
    [
        press("", url="https://example.com", action_id="ship:open"),
        press("retry user-service#12", action_id="someone_elses"),
        {"type": "view_submission", "user": {"id": "U1"}, "view": {"type": "modal", "callback_id": "x"}},
        {"type": "view_closed", "user": {"id": "U1"}, "view": {"type": "modal", "callback_id": "x"}},
        event("message", channel_type="channel", text="hello"),
        event("member_joined_channel", user="U2", inviter="U1"),
        event("reaction_added"),
    ],
    ids=["link", "foreign_action", "submission", "closed", "channel_talk", "somebody_joined", "unasked_event"],
)
def test_what_needs_nothing_is_only_acknowledged(
    client: FlaskClient, inbox: FakeInbox, payload: dict[str, Any]
) -> None:
    """Links, windows being closed and other people's affairs show no error to anybody and store nothing."""
    response = post(client, payload)
    assert (response.status_code, response.data, inbox.offered) == (200, b"", 0)


def test_a_choice_carries_the_command_of_its_option(client: FlaskClient, inbox: FakeInbox) -> None:
    """Menus work like buttons."""
    chosen = {"selected_option": {"value": "cancel user-service#12"}, "type": "overflow"}
    assert post(client, press("", **chosen)).status_code == 200
    assert inbox.stored[0].typed == "cancel user-service#12"


def test_a_payload_that_makes_no_sense_is_refused(client: FlaskClient, inbox: FakeInbox) -> None:
    """What lacks its user is refused with the reason and without harm."""
    response = post(client, command(user_id=""))
    assert (response.status_code, response.get_json()) == (400, {"error": "user_id is missing"})
    assert inbox.offered == 0


def test_a_press_of_nothing_is_refused(client: FlaskClient, inbox: FakeInbox) -> None:
    """A signed press without a control is malformed: sent again it would be no better."""
    response = post(client, press() | {"actions": []})
    assert (response.status_code, inbox.offered) == (400, 0)


def test_a_mistake_of_ours_is_no_acknowledgement(
    client: FlaskClient, inbox: FakeInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fails unexpectedly is answered so that Slack sends an event again, and never with 500."""
    monkeypatch.setattr(inbox, "accept", Mock(side_effect=RuntimeError("bug")))
    response = post(client, event("app_mention", text="<@UBOT> status"))
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")


def test_details_open_a_window_and_store_nothing(client: FlaskClient, inbox: FakeInbox, modals: FakeModals) -> None:
    """A window opens with what is known and is then filled, once for a press that comes twice."""
    for _ in range(2):
        assert post(client, press(SHOW)).data == b""
    assert modals.wait_for(2)
    assert modals.history == [("open", "3.4.def", f"loading {SHOW}"), ("update", "V1", f"details {SHOW}")]
    assert inbox.offered == 0


def test_a_window_waits_for_the_acknowledgement(client: FlaskClient, modals: FakeModals) -> None:
    """Slack is not called before the server has handed over the whole answer to the press."""
    body = encoded(press(SHOW))
    response = client.post(PATH, data=body, headers=signed(body))
    assert (response.status_code, modals.history) == (200, [])
    response.close()
    assert modals.wait_for(2)


def test_a_press_brought_to_another_process_too_opens_one_window(
    client: FlaskClient, inbox: FakeInbox, modals: FakeModals
) -> None:
    """A trigger that opened its window elsewhere needs no answer beside the card."""
    modals.refusal = DestinationGone("slack", "exchanged_trigger")
    assert post(client, press(SHOW)).status_code == 200
    assert modals.wait_until_refused()
    modals.refusal = None
    assert post(client, press(SHOW, action_ts="9.9")).status_code == 200
    assert modals.wait_for(2)
    assert inbox.offered == 0


def test_details_pressed_in_a_window_fill_that_window(client: FlaskClient, modals: FakeModals) -> None:
    """No second window is laid over the first."""
    pressed = press(SHOW) | {"container": {"type": "view", "view_id": "V7"}}
    del pressed["channel"]
    assert post(client, pressed).status_code == 200
    assert modals.wait_for(2)
    assert [one[:2] for one in modals.history] == [("update", "V7"), ("update", "V7")]


@pytest.mark.parametrize("refusal", [NotPermitted("outsider"), DestinationGone("slack", "expired_trigger")])
def test_a_window_that_cannot_open_becomes_a_command(
    client: FlaskClient, inbox: FakeInbox, views: FakeViews, modals: FakeModals, refusal: Exception
) -> None:
    """Whoever may not look, or pressed too slowly, is answered by a worker."""
    target = views if isinstance(refusal, NotPermitted) else modals
    target.refusal = refusal
    assert post(client, press(SHOW)).status_code == 200
    assert inbox.wait_for(stored=1)
    assert (inbox.stored[0].typed, inbox.stored[0].via, modals.history) == (SHOW, "press", [])


def test_a_rejection_by_a_button_asks_why(client: FlaskClient, inbox: FakeInbox, modals: FakeModals) -> None:
    """A window is opened once, and nothing is stored until it is sent."""
    for _ in range(2):
        assert post(client, press(REJECT)).data == b""
    assert modals.wait_for(1)
    assert (modals.history, inbox.offered) == ([("open", "3.4.def", f"why {REJECT}")], 0)


def test_a_rejection_whose_window_cannot_open_is_one_without_a_reason(
    client: FlaskClient, inbox: FakeInbox, modals: FakeModals
) -> None:
    """Who pressed too slowly has rejected all the same; one that says why is asked nothing."""
    modals.refusal = DestinationGone("slack", "expired_trigger")
    assert post(client, press(REJECT)).status_code == 200
    assert inbox.wait_for(stored=1)
    assert post(client, press(f"{REJECT} so", action_ts="9.9")).status_code == 200
    assert [one.typed for one in inbox.stored] == [REJECT, f"{REJECT} so"]


def _sent(reason: str | None, metadata: str) -> dict[str, Any]:
    values = {"words": {"words": {"type": "plain_text_input", "value": reason}}}
    view = {
        "id": "V9",
        "type": "modal",
        "callback_id": "shipmate_question",
        "private_metadata": metadata,
        "state": {"values": values},
    }
    user = {"id": "U2", "username": "bob", "name": "bob", "team_id": "T1"}
    return {"type": "view_submission", "user": user, "team": {"id": "T1"}, "view": view}


@pytest.mark.parametrize(("reason", "typed"), [("the tests\n are red", f"{REJECT} the tests are red"), (None, REJECT)])
def test_what_is_written_in_the_window_is_the_reason(
    client: FlaskClient, inbox: FakeInbox, reason: str | None, typed: str
) -> None:
    """It is stored once before the window closes, and answered where the button was pressed."""
    metadata = json.dumps({"command": REJECT, "place": "slack:T1/C1", "thread": "100.1", "is_private": True})
    for _ in range(2):
        response = post(client, _sent(reason, metadata))
        assert (response.status_code, response.data) == (200, b"")
    (stored,) = inbox.stored
    assert (stored.typed, stored.via, stored.actor.account) == (typed, "press", "slack:U2")
    assert stored.reply_to == ReplyTo("slack", "slack:T1/C1", thread="100.1")


def test_a_reason_that_cannot_be_stored_stays_in_its_window(client: FlaskClient, inbox: FakeInbox) -> None:
    """The person reads so beside it, and can send it again; a window that asks for nothing is only closed."""
    metadata = json.dumps({"command": REJECT, "place": "slack:T1/C1", "is_private": True})
    inbox.refusals = 1
    answer = post(client, _sent("so", metadata)).get_json()
    assert (answer["response_action"], list(answer["errors"])) == ("errors", ["words"])
    assert post(client, _sent(None, "build:buildbot/user-service#12")).data == b""


def test_slack_is_asked_who_we_are_in_the_background(
    door: Callable[..., FlaskClient], inbox: FakeInbox, silent_port: socket.socket
) -> None:
    """Before the first event a command is taken at once; only then Slack is asked."""
    silent_port.setblocking(True)
    silent_port.settimeout(10)
    assert post(door(own=Own()), command()).status_code == 200
    assert len(inbox.stored) == 1
    asked, _ = silent_port.accept()
    with asked:
        assert asked.recv(100).startswith(b"POST /auth.test")


def test_loading_the_door_loads_no_sdk() -> None:
    """Commands of the command line that do not talk to Slack do not wait for its SDK."""
    code = "import sys, handlers.slack, handlers.slack_socket; print({'slack_bolt', 'slack_sdk'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
