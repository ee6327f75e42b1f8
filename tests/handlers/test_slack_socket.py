"""Slack's door against the playground, over a socket and over HTTP, through the real SDKs."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any

import pytest
from flask import Flask
from slack_bolt import App
from slack_sdk import WebClient
from slack_sdk.web import SlackResponse
from structlog.testing import capture_logs
from werkzeug.serving import make_server

from bot.ports import Clock
from bot.system import SystemClock
from handlers import slack_session
from handlers.slack import build_app
from handlers.slack_http import flask_blueprint
from handlers.slack_payloads import Own
from handlers.slack_session import Session
from handlers.slack_socket import CALL_S, SlackSocket
from handlers.slack_windows import Windows
from playground import world
from playground.options import Options
from playground.server import Playground
from tests.handlers.connections import Jam, Switch
from tests.handlers.slack_fakes import FakeClock, FakeInbox, FakeModals, FakeViews
from tests.waiting import wait_until

RETRY = {
    "type": "button",
    "action_id": "ship:retry",
    "value": "retry app#1",
    "text": {"type": "plain_text", "text": "R"},
}
CARD = [{"type": "actions", "elements": [RETRY]}]
PLACE = f"slack:{world.SLACK_TEAM}/C024CI00001"
PATIENCE_S = 30.0
Listen = Callable[..., tuple[SlackSocket, Switch]]


def options(**changes: Any) -> Options:
    """The playground's settings: no budgets; Slack's own three seconds to acknowledge what it sends."""
    return Options(**({"port": 0, "budgets": False} | changes))


def waits_shortly(playground: Playground, **changes: Any) -> None:
    """Let Slack wait only for a moment from now on, where it is to be left without an acknowledgement."""
    playground.client.options(slack_ack_timeout_s=0.3, **changes)


@pytest.fixture
def playground() -> Iterator[Playground]:
    """A playground of its own."""
    with Playground(options()) as started:
        yield started


@pytest.fixture
def inbox() -> FakeInbox:
    """An empty inbox."""
    return FakeInbox()


@pytest.fixture
def app_at(inbox: FakeInbox) -> Iterator[Callable[..., App]]:
    """Builds Bolt apps for an address of Slack."""
    opened: list[Windows] = []

    def build(url: str, clock: Clock | None = None) -> App:
        opened.append(Windows(inbox, FakeViews(), FakeModals()))
        return build_app(
            client=api(url),
            command="/ship",
            inbox=inbox,
            windows=opened[-1],
            clock=clock or FakeClock(),
            own=Own(world.SLACK_TEAM, world.SLACK_BOT_USER),
        )

    yield build
    for windows in opened:
        windows.stop()


@pytest.fixture
def listen(app_at: Callable[..., App]) -> Iterator[Listen]:
    """Starts sockets and stops them afterwards."""
    started: list[SlackSocket] = []

    def start(
        url: str, app_token: str = world.SLACK_APP_TOKEN, first_pause_s: float = 0.05
    ) -> tuple[SlackSocket, Switch]:
        switch = Switch()
        one = SlackSocket(
            app_at(url), app_token, api(url), first_pause_s=first_pause_s, most_pause_s=0.2, on_change=switch
        )
        started.append(one)
        one.start()
        return one, switch

    yield start
    for one in started:
        one.stop()


def api(url: str) -> WebClient:
    """Slack's own client, which tries once."""
    return WebClient(world.SLACK_BOT_TOKEN, base_url=f"{url}/slack/api/", retry_handlers=[], timeout=30)


@contextmanager
def served(app: App, clock: Clock) -> Iterator[str]:
    """The door behind a real HTTP server."""
    flask = Flask("test")
    flask.register_blueprint(flask_blueprint(app, world.SLACK_SIGNING_SECRET, clock))
    server = make_server("127.0.0.1", 0, flask, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def opened(playground: Playground) -> int:
    """How often a connection was asked for."""
    return len(playground.client.calls(method="apps.connections.open"))


def is_old_one_heard() -> bool:
    """Whether a connection that is being replaced is listened to still."""
    return any(thread.name == "slack-socket-old" for thread in threading.enumerate())


def ask_everything(playground: Playground) -> None:
    """A command, a mention, a direct message and a press; each is acknowledged, within a second, without words."""
    ts = api(playground.url).chat_postMessage(channel="#ci", text="card", blocks=CARD)["ts"]
    answers = [
        playground.act(platform="slack", channel="#ci", as_="alice", say="/ship status"),
        playground.act(platform="slack", channel="#ci", as_="alice", mention="builds app"),
        playground.act(platform="slack", as_="alice", direct=True, say="whoami"),
        playground.act(platform="slack", channel="#ci", as_="alice", click={"message": ts, "action": "ship:retry"}),
    ]
    assert [one["ok"] for one in answers] == [True] * 4
    assert all(one["ack"]["payload"] in (None, "") and one["ack"]["latency_ms"] < 1000 for one in answers)
    assert playground.client.state()["violations"] == []


def assert_heard_everything(inbox: FakeInbox) -> None:
    """All four came in, from Alice, with the places they are answered at."""
    assert [one.typed for one in inbox.stored] == ["status", "builds app", "whoami", "retry app#1"]
    assert {one.actor.account for one in inbox.stored} == {"slack:U024ALICE01"}
    assert [one.reply_to.place for one in inbox.stored if one.typed != "whoami"] == [PLACE] * 3
    assert not any(one.actor.is_outsider for one in inbox.stored)


def test_everything_is_heard_over_a_socket(playground: Playground, inbox: FakeInbox, listen: Listen) -> None:
    """Commands, mentions, direct messages and presses arrive over Socket Mode."""
    connection, switch = listen(playground.url)
    assert switch.wait_for(True)
    assert connection.is_connected
    ask_everything(playground)
    assert_heard_everything(inbox)


def test_everything_is_heard_over_http(inbox: FakeInbox, app_at: Callable[..., App]) -> None:
    """The same arrives over signed HTTP, and Slack can verify the address."""
    clock = SystemClock()
    with Playground(options(slack_mode="http")) as playground:
        app = app_at(playground.url, clock)
        with served(app, clock) as url:
            playground.client.options(bot_url=url)
            assert playground.act(platform="slack", verify_url=True)["ok"] is True
            ask_everything(playground)
    assert_heard_everything(inbox)


def test_an_event_is_retried_over_http_until_it_is_stored(inbox: FakeInbox, app_at: Callable[..., App]) -> None:
    """Slack sends an event again that could not be stored, and it becomes one command."""
    clock = SystemClock()
    inbox.refusals = 1
    with Playground(options(slack_mode="http", slack_event_retries_s=(0.0, 0.0))) as playground:
        app = app_at(playground.url, clock)
        with served(app, clock) as url:
            playground.client.options(bot_url=url)
            playground.act(platform="slack", channel="#ci", as_="alice", mention="status")
            assert inbox.wait_for(stored=1)
    assert (inbox.offered, [one.typed for one in inbox.stored]) == (2, ["status"])


def test_an_envelope_that_could_not_be_stored_comes_again(
    playground: Playground, inbox: FakeInbox, listen: Listen
) -> None:
    """Over a socket nothing is acknowledged that was not stored."""
    _, switch = listen(playground.url)
    assert switch.wait_for(True)
    inbox.refusals = 1
    waits_shortly(playground)
    playground.act(platform="slack", channel="#ci", as_="alice", mention="status")
    assert inbox.wait_for(stored=1)
    assert (inbox.offered, [one.typed for one in inbox.stored]) == (2, ["status"])


def test_no_more_wait_for_the_database_than_there_is_room_for(
    playground: Playground, inbox: FakeInbox, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it stalls whatever comes then is left to Slack, which sends it again; what waits is stored afterwards."""
    monkeypatch.setattr(slack_session, "MOST_WAITING", 1)
    jam = Jam(inbox.accept)
    monkeypatch.setattr(inbox, "accept", jam)
    _, switch = listen(playground.url)
    assert switch.wait_for(True)
    waits_shortly(playground, slack_event_retries_s=(0.5,) * 20)
    playground.act(platform="slack", channel="#ci", as_="alice", say="/ship status")
    wait_until(lambda: jam.knocks, "the command at the database")
    with capture_logs() as said:
        playground.act(platform="slack", channel="#ci", as_="alice", mention="builds")
        wait_until(lambda: ("slack frame left, too many wait", "events_api") in kinds(said), "the mention to be left")
    assert (jam.knocks, inbox.offered) == (1, 0)
    jam.end()
    assert inbox.wait_for(stored=2)
    assert [one.typed for one in inbox.stored] == ["status", "builds"]


def kinds(said: Sequence[MutableMapping[str, Any]]) -> list[tuple[Any, Any]]:
    """What was logged, and of which kind of frame."""
    return [(line["event"], line.get("kind")) for line in said]


@pytest.mark.parametrize("words", [{"say": "/ship status"}, {"mention": "status"}])
def test_a_redelivery_is_one_command(
    playground: Playground, inbox: FakeInbox, listen: Listen, words: dict[str, str]
) -> None:
    """The same envelope twice is offered twice under one key."""
    _, switch = listen(playground.url)
    assert switch.wait_for(True)
    playground.act(platform="slack", channel="#ci", as_="alice", **words)
    playground.act(platform="slack", redeliver=True)
    assert inbox.wait_for(offered=2)
    assert len(inbox.stored) == 1


def test_a_command_that_cannot_be_stored_tells_the_asker(
    playground: Playground, inbox: FakeInbox, listen: Listen
) -> None:
    """The person who typed it sees that nothing happened."""
    _, switch = listen(playground.url)
    assert switch.wait_for(True)
    inbox.refusals = 1
    answer = playground.act(platform="slack", channel="#ci", as_="alice", say="/ship status")
    assert "please try again" in answer["shown"][0]["text"]


def test_an_invitation_greets(playground: Playground, inbox: FakeInbox, listen: Listen) -> None:
    """Invited into a channel, we introduce ourselves there."""
    _, switch = listen(playground.url)
    assert switch.wait_for(True)
    playground.act(platform="slack", channel="#random", as_="alice", invite=True)
    assert inbox.wait_for(stored=1)
    stored = inbox.stored[0]
    assert (stored.typed, stored.reply_to.place) == ("help welcome", f"slack:{world.SLACK_TEAM}/C024RANDOM3")


@pytest.mark.parametrize("how", ["link_disabled", "drop"])
def test_the_socket_comes_back(playground: Playground, inbox: FakeInbox, listen: Listen, how: str) -> None:
    """However the connection ends, commands are heard again soon."""
    _, switch = listen(playground.url)
    assert switch.wait_for(True)
    playground.act(platform="slack", disconnect=how)
    assert switch.wait_for(True, False, True)
    assert playground.act(platform="slack", channel="#ci", as_="alice", say="/ship status")["ok"] is True
    assert [one.typed for one in inbox.stored] == ["status"]


def test_the_socket_comes_back_when_it_cannot_be_closed(
    playground: Playground, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing what broke may fail too: it is no end of the listening."""
    close = Session.close

    def close_badly(self: Session) -> None:
        close(self)
        raise ValueError("closed twice")

    monkeypatch.setattr(Session, "close", close_badly)
    _, switch = listen(playground.url)
    assert switch.wait_for(True)
    playground.act(platform="slack", disconnect="drop")
    assert switch.wait_for(True, False, True)


@pytest.mark.parametrize("how", ["warning", "refresh_requested"])
def test_a_connection_is_replaced_without_a_gap(
    playground: Playground, inbox: FakeInbox, listen: Listen, how: str
) -> None:
    """When Slack announces the end of a connection, the next one stands before it is closed."""
    connection, switch = listen(playground.url, first_pause_s=0.0)
    assert switch.wait_for(True)
    playground.act(platform="slack", disconnect=how)
    wait_until(lambda: opened(playground) == 2 and not is_old_one_heard(), "the next connection alone")
    assert playground.act(platform="slack", channel="#ci", as_="alice", say="/ship status")["ok"] is True
    assert (connection.is_connected, switch.history) == (True, [True])
    assert [one.typed for one in inbox.stored] == ["status"]


def test_the_old_connection_is_heard_until_the_next_one_stands(
    playground: Playground, inbox: FakeInbox, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slack's warning comes seconds before the end: what it sends meanwhile is acknowledged at once."""
    ask, is_asked, may_ask = WebClient.apps_connections_open, threading.Event(), threading.Event()

    def ask_later(self: WebClient, **given: Any) -> SlackResponse:
        is_asked.set()
        assert may_ask.wait(PATIENCE_S)
        return ask(self, **given)

    _, switch = listen(playground.url, first_pause_s=0.0)
    assert switch.wait_for(True)
    monkeypatch.setattr(WebClient, "apps_connections_open", ask_later)
    playground.act(platform="slack", disconnect="warning")
    assert is_asked.wait(PATIENCE_S)
    assert playground.act(platform="slack", channel="#ci", as_="alice", say="/ship status")["ok"] is True
    assert (opened(playground), [one.typed for one in inbox.stored]) == (1, ["status"])
    may_ask.set()
    playground.client.wait_for(lambda _: opened(playground) == 2)


def test_start_survives_a_slack_that_is_away(playground: Playground, inbox: FakeInbox, listen: Listen) -> None:
    """A refused address is asked for again until it is given."""
    playground.client.faults({"kind": "status", "method": "apps.connections.open", "times": 2})
    connection, switch = listen(playground.url)
    assert switch.wait_for(True)
    assert connection.is_connected
    assert opened(playground) == 3


def test_a_wrong_token_is_no_connection(playground: Playground, listen: Listen) -> None:
    """A refused token is tried again and never takes the thread down."""
    connection, switch = listen(playground.url, "xapp-wrong")
    playground.client.wait_for(lambda _: opened(playground) >= 2)
    assert (connection.is_connected, switch.history) == (False, [])


def test_neither_start_nor_stop_waits_for_a_connection(listen: Listen) -> None:
    """Nobody waits for a Slack that does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        connection, _ = listen(f"http://127.0.0.1:{mute.getsockname()[1]}")
        taken, _ = mute.accept()
        begun = monotonic()
        connection.stop(0.2)
        assert monotonic() - begun < CALL_S
        taken.close()


def test_stopping_ends_the_connection(playground: Playground, listen: Listen) -> None:
    """A stop is clean and at once; the gauge falls."""
    connection, switch = listen(playground.url)
    assert switch.wait_for(True)
    assert connection.stop() is True
    assert (connection.is_connected, switch.history) == (False, [True, False])
    playground.client.wait_for(lambda state: not state["platforms"]["slack"]["connections"])
