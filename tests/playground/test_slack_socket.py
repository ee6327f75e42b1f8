"""Socket Mode with an unmodified Bolt application."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import requests
from slack_bolt import App
from slack_bolt.adapter.socket_mode import SocketModeHandler
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from playground import world
from playground.client import ControlError
from playground.server import Playground
from tests.playground.clients import web_client

Connect = Callable[[App], SocketModeHandler]
BUTTON = {
    "type": "actions",
    "block_id": "b",
    "elements": [
        {"type": "button", "action_id": "go", "value": "v1", "text": {"type": "plain_text", "text": "Go"}},
        {
            "type": "static_select",
            "action_id": "pick",
            "options": [{"text": {"type": "plain_text", "text": "One"}, "value": "1"}],
        },
    ],
}


def test_a_slash_command_is_answered_to_its_asker(playground: Playground, app: App, connect: Connect) -> None:
    """The ack's text is shown as an ephemeral message, and the payload has Slack's keys."""
    seen: list[dict[str, Any]] = []

    @app.command("/ship")
    def ship(ack: Callable[..., Any], body: dict[str, Any]) -> None:
        seen.append(body)
        ack(f"you asked: {body['text']}")

    connect(app)
    answer = playground.act(platform="slack", channel="#ci", as_="bob", say="/ship status now")
    assert answer["ok"] is True
    assert answer["ack"]["payload"] == {"text": "you asked: status now"}
    assert [(one["to"], one["text"]) for one in answer["shown"]] == [("Bob", "you asked: status now")]
    body = seen[0]
    assert (body["command"], body["channel_name"], body["user_id"]) == ("/ship", "ci", "U024BOB0002")
    assert body["trigger_id"] == answer["trigger_id"]
    assert playground.client.messages("slack", "#ci") == []


def test_commands_that_nobody_registered(playground: Playground) -> None:
    """An unknown slash command is refused by the client and never delivered."""
    answer = playground.act(platform="slack", as_="bob", say="/other")
    assert (answer["ok"], answer["error"]) == (False, "unknown_command")
    assert playground.client.deliveries() == []


def test_a_silent_bot_is_said_and_delivered_again(start: Callable[..., Playground], connect: Connect) -> None:
    """Without an ack in time the person reads of it, and the same envelope comes again with its attempt."""
    playground = start(slack_ack_timeout_s=0.2, slack_event_retries_s=(0.5, 0.0))
    app = App(client=web_client(playground), process_before_response=True)
    attempts: list[Any] = []
    acked_at_last = threading.Event()

    @app.event("app_mention")
    def heard(body: dict[str, Any], request: Any) -> None:
        attempts.append((body["event_id"], request.headers.get("x-slack-retry-num")))
        if len(attempts) < 2:
            raise RuntimeError("not this time")
        acked_at_last.set()

    connect(app)
    answer = playground.act(platform="slack", channel="#ci", as_="bob", say="@Shipmate status")
    assert answer["ack"] is None
    playground.client.options(slack_ack_timeout_s=30.0)
    assert acked_at_last.wait(30)
    playground.client.wait_for(lambda _: len(acked(playground)) == 1)
    assert [one[1] for one in attempts] == [None, ["1"]]
    assert len({one[0] for one in attempts}) == 1


def acked(playground: Playground) -> list[dict[str, Any]]:
    """The deliveries that were acknowledged."""
    return [one for one in playground.client.deliveries() if one["is_acked"]]


def test_an_unreachable_bot_is_said(start: Callable[..., Playground]) -> None:
    """A command that reaches no connection fails before the person's eyes."""
    playground = start(slack_ack_timeout_s=0.1, slack_event_retries_s=())
    answer = playground.act(platform="slack", as_="bob", say="/ship help")
    assert (answer["ok"], answer["error"]) == (False, "dispatch_failed")
    assert "failed with the error" in answer["shown"][0]["text"]


def test_a_click_carries_the_message_and_its_value(
    playground: Playground, slack: WebClient, app: App, connect: Connect
) -> None:
    """A block_actions payload names the message, the action and who clicked; its ack's latency is measured."""
    seen: list[dict[str, Any]] = []

    @app.action("go")
    def go(ack: Callable[..., Any], body: dict[str, Any]) -> None:
        seen.append(body)
        ack()

    connect(app)
    ts = slack.chat_postMessage(channel="#ci", text="x", blocks=[BUTTON])["ts"]
    [shown] = playground.client.messages("slack", "#ci")
    assert [(one["id"], one["label"]) for one in shown["actions"]] == [("go", "Go"), ("pick", "")]
    answer = playground.act(platform="slack", channel="#ci", as_="sam", click={"message": ts, "action": "go"})
    assert answer["ok"] is True
    assert 0 < answer["latency_ms"] < 3000
    body = seen[0]
    assert body["container"] == {
        "type": "message",
        "message_ts": ts,
        "channel_id": "C024CI00001",
        "is_ephemeral": False,
    }
    assert body["user"] == {"id": "U0PARTNER05", "username": "sam", "name": "sam", "team_id": world.SLACK_OTHER_TEAM}
    assert body["message"]["ts"] == ts
    assert (body["actions"][0]["value"], body["actions"][0]["block_id"]) == ("v1", "b")


def test_a_choice_and_a_click_in_an_attachment(
    playground: Playground, slack: WebClient, app: App, connect: Connect
) -> None:
    """A select sends its option, and blocks of an attachment name it in the container."""
    seen: list[dict[str, Any]] = []

    @app.action("pick")
    def pick(ack: Callable[..., Any], body: dict[str, Any]) -> None:
        seen.append(body)
        ack()

    connect(app)
    attachments = [{"color": "danger", "fallback": "x", "blocks": [BUTTON]}]
    ts = slack.chat_postMessage(channel="#ci", text="x", attachments=attachments)["ts"]
    playground.act(platform="slack", channel="#ci", click={"message": ts, "action": "pick", "value": "One"})
    assert seen[0]["actions"][0]["selected_option"]["value"] == "1"
    assert (seen[0]["container"]["type"], seen[0]["container"]["attachment_id"]) == ("message_attachment", 1)
    with pytest.raises(ControlError, match="known: go, pick"):
        playground.act(platform="slack", channel="#ci", click={"message": ts, "action": "nothing"})


def test_response_action_in_a_buttons_ack_is_a_violation(
    playground: Playground, slack: WebClient, app: App, connect: Connect
) -> None:
    """What Slack would ignore silently is recorded and shown."""

    @app.action("go")
    def go(ack: Callable[..., Any]) -> None:
        ack(response_action="clear")

    connect(app)
    ts = slack.chat_postMessage(channel="#ci", text="x", blocks=[BUTTON])["ts"]
    answer = playground.act(platform="slack", channel="#ci", click={"message": ts, "action": "go"})
    assert (answer["ok"], answer["error"]) == (False, "response_action")
    state = playground.state()
    assert [one["rule"] for one in state["violations"]] == ["response_action"]
    assert "response_action" in state["platforms"]["slack"]["ephemeral"][0]["text"]


def test_response_url_works_five_times(playground: Playground, slack: WebClient, app: App, connect: Connect) -> None:
    """A response_url replaces the message five times in all, and expires."""
    urls: list[str] = []

    @app.action("go")
    def go(ack: Callable[..., Any], body: dict[str, Any]) -> None:
        urls.append(body["response_url"])
        ack()

    connect(app)
    ts = slack.chat_postMessage(channel="#ci", text="x", blocks=[BUTTON])["ts"]
    click = {"message": ts, "action": "go"}
    playground.act(platform="slack", channel="#ci", click=click)
    playground.client.options(slack_response_url_s=0.0)
    playground.act(platform="slack", channel="#ci", click=click)
    replace = {"replace_original": True, "text": "decided"}
    answers = [requests.post(urls[0], json=replace, timeout=30) for _ in range(6)]
    assert [one.status_code for one in answers] == [200] * 5 + [404]
    assert answers[5].json()["error"] == "used_url"
    assert requests.post(urls[1], json=replace, timeout=30).json()["error"] == "expired_url"
    assert playground.client.messages("slack", "#ci")[0]["text"] == "decided"


def test_mentions_and_direct_messages_are_events(playground: Playground, app: App, connect: Connect) -> None:
    """The bot hears mentions where it is a member, direct messages always, and nothing else."""
    heard: list[dict[str, Any]] = []

    @app.event("app_mention")
    def mentioned(event: dict[str, Any]) -> None:
        heard.append(event)

    @app.event("message")
    def written(event: dict[str, Any]) -> None:
        heard.append(event)

    connect(app)
    assert playground.act(platform="slack", channel="#ci", as_="bob", say="just talking")["heard"] is False
    elsewhere = playground.act(platform="slack", channel="#random", as_="bob", say="@Shipmate hi")
    assert elsewhere["heard"] is False
    assert "not in this channel" in elsewhere["shown"][0]["text"]
    playground.act(platform="slack", channel="#ci", as_="bob", say="@Shipmate status & more")
    playground.client.wait_for(lambda _: len(heard) == 1)  # events are acknowledged before they are listened to
    playground.act(platform="slack", as_="bob", direct=True, say="status")
    playground.client.wait_for(lambda _: len(heard) == 2)
    playground.act(platform="slack", channel="#ci", as_="deploybot", mention="status")
    playground.client.wait_for(lambda _: len(heard) == 3)
    assert [(one["type"], one.get("channel_type"), one["text"]) for one in heard[:2]] == [
        ("app_mention", None, f"<@{world.SLACK_BOT_USER}> status &amp; more"),
        ("message", "im", "status"),
    ]
    assert heard[2]["bot_id"] == "B024OTHERBT"


def test_an_invitation_is_an_event(playground: Playground, app: App, connect: Connect) -> None:
    """Inviting the bot lets it write and tells it so."""
    heard: list[dict[str, Any]] = []

    @app.event("member_joined_channel")
    def joined(event: dict[str, Any], say: Callable[..., Any]) -> None:
        heard.append(event)
        say("hello")

    connect(app)
    playground.act(platform="slack", channel="#random", as_="alice", invite=True)
    playground.client.wait_for(lambda _: len(playground.client.messages("slack", "#random")) == 2)
    assert (heard[0]["user"], heard[0]["inviter"]) == (world.SLACK_BOT_USER, "U024ALICE01")
    playground.act(platform="slack", channel="#random", kick=True)
    with pytest.raises(SlackApiError):
        web_client(playground).chat_postMessage(channel="#random", text="x")


def test_each_payload_goes_to_one_connection_and_reconnects(playground: Playground, app: App, connect: Connect) -> None:
    """Two connections share the work; after a disconnect frame the client comes back by itself."""

    @app.command("/ship")
    def ship(ack: Callable[..., Any]) -> None:
        ack("ok")

    first, second = connect(app), connect(app)
    playground.client.wait_for(lambda state: state["platforms"]["slack"]["connections"] == 2)
    for _ in range(4):
        assert playground.act(platform="slack", say="/ship help")["ok"] is True
    used = [one["connection"] for one in playground.client.deliveries()]
    assert (len(used), len(set(used))) == (4, 2)
    sessions = {first.client.session_id(), second.client.session_id()}
    assert playground.act(platform="slack", disconnect="refresh_requested")["connections"] == 2
    playground.client.wait_for(
        lambda state: (
            state["platforms"]["slack"]["connections"] == 2
            and not sessions & {first.client.session_id(), second.client.session_id()}
        )
    )
    assert playground.act(platform="slack", say="/ship help")["ok"] is True


def test_a_ticket_opens_one_connection(playground: Playground) -> None:
    """The address of apps.connections.open cannot be used twice, and needs the app token."""
    with pytest.raises(SlackApiError):
        web_client(playground).apps_connections_open(app_token=world.SLACK_BOT_TOKEN)
    url = web_client(playground).apps_connections_open(app_token=world.SLACK_APP_TOKEN)["url"]
    assert url.startswith("ws://127.0.0.1:")
    spent = requests.get(url.replace("ws://", "http://").replace("ticket=", "ticket=x"), timeout=30)
    assert spent.status_code == 401


def test_the_same_delivery_can_be_repeated(playground: Playground, app: App, connect: Connect) -> None:
    """`redeliver` sends the very same payload again, as a network does."""
    seen: list[str] = []

    @app.command("/ship")
    def ship(ack: Callable[..., Any], body: dict[str, Any]) -> None:
        ack("ok")
        seen.append(body["trigger_id"])

    connect(app)
    playground.act(platform="slack", say="/ship help")
    assert playground.act(platform="slack", redeliver=True)["ack"]["payload"] == {"text": "ok"}
    playground.client.wait_for(lambda _: len(seen) == 2)
    assert seen[0] == seen[1]
    envelopes = [one["envelope_id"] for one in playground.client.deliveries()]
    assert envelopes[0] == envelopes[1]
