"""Signed HTTP deliveries to a Bolt application behind a real socket."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from slack_bolt import App, BoltRequest
from slack_sdk.signature import SignatureVerifier

from playground import world
from playground.server import Playground
from tests.listening import Listening, QuietHandler
from tests.playground.clients import web_client


@contextmanager
def served(answer: Callable[[BaseHTTPRequestHandler, str], tuple[int, dict[str, str], str]]) -> Iterator[str]:
    """An HTTP server whose POSTs are answered by a function; yields its address."""

    class Handler(QuietHandler):
        def respond(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            status, headers, text = answer(self, body)
            raw = text.encode()
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

    server = Listening(Handler)
    try:
        yield server.url
    finally:
        server.close()


@contextmanager
def bolt(app: App) -> Iterator[str]:
    """A Bolt application that is reached over HTTP."""

    def answer(request: BaseHTTPRequestHandler, body: str) -> tuple[int, dict[str, str], str]:
        headers = {key.lower(): value for key, value in request.headers.items()}
        response = app.dispatch(BoltRequest(body=body, headers=headers))
        return response.status, {"Content-Type": response.first_headers().get("content-type", "")}, response.body

    with served(answer) as url:
        yield url


def test_commands_clicks_and_events_pass_bolts_signature_check(start: Callable[..., Playground]) -> None:
    """Slash commands, clicks and events arrive signed, and the body's reply is shown."""
    playground = start(slack_mode="http")
    slack = web_client(playground)
    app = App(client=slack, signing_secret=world.SLACK_SIGNING_SECRET)
    heard: list[str] = []

    @app.command("/ship")
    def ship(ack: Callable[..., Any], command: dict[str, Any]) -> None:
        ack(text=f"asked {command['text']}", response_type="in_channel")

    @app.action("go")
    def go(ack: Callable[..., Any], action: dict[str, Any]) -> None:
        heard.append(action["value"])
        ack()

    @app.event("app_mention")
    def mentioned(event: dict[str, Any]) -> None:
        heard.append(event["text"])

    button = {"type": "button", "action_id": "go", "value": "v", "text": {"type": "plain_text", "text": "Go"}}
    ts = slack.chat_postMessage(channel="#ci", text="x", blocks=[{"type": "actions", "elements": [button]}])["ts"]
    with bolt(app) as url:
        playground.client.options(bot_url=url)
        assert playground.act(platform="slack", say="/ship status")["shown"][0]["text"] == "asked status"
        assert playground.act(platform="slack", click={"message": ts, "action": "go"})["ok"] is True
        assert playground.act(platform="slack", mention="hi")["ack"] is not None
        assert playground.act(platform="slack", verify_url=True)["ok"] is True
        playground.client.wait_for(lambda _: len(heard) == 2)
    assert heard == ["v", f"<@{world.SLACK_BOT_USER}> hi"]
    assert [one["text"] for one in playground.client.messages("slack", "#ci")][1] == "asked status"


def test_events_are_retried_with_headers(start: Callable[..., Playground]) -> None:
    """A failed event comes again with number and reason, the same event id and a fresh signature."""
    playground = start(slack_mode="http", slack_event_retries_s=(0.0, 0.0, 0.0))
    seen: list[tuple[Any, Any, str]] = []
    verifier = SignatureVerifier(world.SLACK_SIGNING_SECRET)

    def answer(request: BaseHTTPRequestHandler, body: str) -> tuple[int, dict[str, str], str]:
        assert verifier.is_valid_request(body, dict(request.headers))
        headers = request.headers
        seen.append((headers["X-Slack-Retry-Num"], headers["X-Slack-Retry-Reason"], json.loads(body)["event_id"]))
        return (200 if len(seen) == 3 else 500), {}, ""

    with served(answer) as url:
        playground.client.options(bot_url=url)
        assert playground.act(platform="slack", mention="hi")["ack"] is None
        playground.client.wait_for(lambda _: len(seen) == 3)
        playground.client.wait_for(lambda _: playground.client.deliveries()[-1]["is_acked"])
    assert [one[:2] for one in seen] == [(None, None), ("1", "http_error"), ("2", "http_error")]
    assert len({one[2] for one in seen}) == 1


def test_no_retry_is_obeyed(start: Callable[..., Playground]) -> None:
    """X-Slack-No-Retry on a failure ends it."""
    playground = start(slack_mode="http", slack_event_retries_s=(0.0, 0.0))
    seen: list[str] = []

    def answer(request: BaseHTTPRequestHandler, body: str) -> tuple[int, dict[str, str], str]:
        seen.append(body)
        return 500, {"X-Slack-No-Retry": "1"}, ""

    with served(answer) as url:
        playground.client.options(bot_url=url)
        playground.act(platform="slack", mention="one")
        playground.act(platform="slack", mention="two")
    assert [json.loads(one)["event"]["text"][-3:] for one in seen] == ["one", "two"]


@pytest.mark.parametrize("retries", [(), (0.0,)])
def test_a_bot_that_is_down_fails_the_command(start: Callable[..., Playground], retries: tuple[float, ...]) -> None:
    """A refused connection is shown to the person and never retried for a command."""
    playground = start(slack_mode="http", bot_url="http://127.0.0.1:9", slack_event_retries_s=retries)
    answer = playground.act(platform="slack", say="/ship help")
    assert (answer["ok"], answer["error"]) == (False, "dispatch_failed")
    assert [one["error"] for one in playground.client.deliveries()] == ["connection_failed"]
