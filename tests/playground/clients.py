"""The SDKs' unmodified clients, pointed at a playground and ended without their timeouts."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import dingtalk_stream
import pytest
import requests
from slack_bolt.adapter.socket_mode import SocketModeHandler
from slack_sdk import WebClient

from playground import world
from playground.client import Client
from playground.server import Playground


def web_client(playground: Playground, token: str = world.SLACK_BOT_TOKEN) -> WebClient:
    """Slack's own Web API client, which tries once."""
    return WebClient(token, base_url=f"{playground.url}/slack/api/", retry_handlers=[])


def close(handler: SocketModeHandler) -> None:
    """Close a handler without waiting for the SDK's timeouts: three seconds for a frame, one for its queue."""
    client = handler.client
    client.auto_reconnect_enabled = client.default_auto_reconnect_enabled = False
    client.current_session_state.terminated = True
    Client(str(client.web_client.base_url).partition("/slack/")[0]).act(platform="slack", disconnect="drop")
    client.closed = True
    client.enqueue_message("{}")
    handler.close()


def stream_client(
    playground: Playground, monkeypatch: pytest.MonkeyPatch, secret: str = world.DINGTALK_CLIENT_SECRET
) -> dingtalk_stream.DingTalkStreamClient:
    """A stream client; the SDK reads its endpoint at import, so that each module's copy is set."""
    api = f"{playground.url}/dingtalk/api"
    for module in (dingtalk_stream.stream, dingtalk_stream.card_replier, dingtalk_stream.chatbot):
        monkeypatch.setattr(module, "DINGTALK_OPENAPI_ENDPOINT", api)
    client_class = dingtalk_stream.DingTalkStreamClient
    monkeypatch.setattr(client_class, "OPEN_CONNECTION_API", f"{api}/v1.0/gateway/connections/open")
    return client_class(dingtalk_stream.Credential(world.DINGTALK_CLIENT_ID, secret))


@contextmanager
def streaming(client: dingtalk_stream.DingTalkStreamClient, playground: Playground) -> Iterator[None]:
    """Runs a stream client in a thread until the block ends."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(client.start())

    def run() -> None:
        try:
            loop.run_until_complete(asyncio.wait({task}))
        finally:
            for left in asyncio.all_tasks(loop):
                left.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    async def stop() -> None:
        # The SDK swallows the first cancellation and sleeps before it reconnects; the second one ends that sleep.
        while not task.done():
            task.cancel()
            await asyncio.sleep(0.01)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    playground.client.wait_for(lambda state: state["platforms"]["dingtalk"]["connections"])
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop)
        thread.join(timeout=30)


class DingTalkApi:
    """DingTalk's new API over plain requests, with a fresh token."""

    def __init__(self, playground: Playground) -> None:
        self._base = f"{playground.url}/dingtalk/api"
        keys = {"appKey": world.DINGTALK_CLIENT_ID, "appSecret": world.DINGTALK_CLIENT_SECRET}
        self.token = self.call("POST", "/v1.0/oauth2/accessToken", keys, token="").json()["accessToken"]

    def call(self, verb: str, path: str, body: object, token: str | None = None) -> requests.Response:
        """One call."""
        headers = {"x-acs-dingtalk-access-token": self.token if token is None else token}
        return requests.request(verb, self._base + path, json=body, headers=headers, timeout=30)
