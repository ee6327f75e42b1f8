"""A playground on a free port for each test, and the SDKs' clients that speak to it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dingtalk_stream
import pytest
from slack_bolt import App
from slack_bolt.adapter.socket_mode import SocketModeHandler
from slack_sdk import WebClient

from playground import world
from playground.options import Options
from playground.server import Playground
from tests.playground.clients import DingTalkApi, close, stream_client, web_client

TEMPLATE = Path(__file__).parent / "templates" / "short.json"


@pytest.fixture
def start(request: pytest.FixtureRequest) -> Iterator[Callable[..., Playground]]:
    """Starts playgrounds with other options than the defaults; ends them after the test."""
    running: list[Playground] = []

    def start_one(**options: Any) -> Playground:
        given = {"port": 0, "dingtalk_templates": (str(TEMPLATE),)} | options
        running.append(Playground(Options(**given)).start())
        return running[-1]

    yield start_one
    for one in running:
        one.stop()


@pytest.fixture
def playground(start: Callable[..., Playground]) -> Playground:
    """A playground with the defaults."""
    return start()


@pytest.fixture
def slack(playground: Playground) -> WebClient:
    """Slack's own Web API client with the bot's token."""
    return web_client(playground)


@pytest.fixture
def app(slack: WebClient) -> App:
    """A Bolt application, not yet connected."""
    return App(client=slack, signing_secret=world.SLACK_SIGNING_SECRET)


@pytest.fixture
def connect() -> Iterator[Callable[[App], SocketModeHandler]]:
    """Connects Bolt applications in Socket Mode; closes them after the test."""
    open_ones: list[SocketModeHandler] = []

    def connect_one(app: App) -> SocketModeHandler:
        handler = SocketModeHandler(app, world.SLACK_APP_TOKEN, ping_interval=0.5)
        open_ones.append(handler)
        handler.connect()
        return handler

    yield connect_one
    for one in open_ones:
        close(one)


@pytest.fixture
def dingtalk(playground: Playground, monkeypatch: pytest.MonkeyPatch) -> dingtalk_stream.DingTalkStreamClient:
    """DingTalk's own stream client, pointed at the playground, not yet started."""
    return stream_client(playground, monkeypatch)


@pytest.fixture
def api(playground: Playground) -> DingTalkApi:
    """DingTalk's new API with a token."""
    return DingTalkApi(playground)
