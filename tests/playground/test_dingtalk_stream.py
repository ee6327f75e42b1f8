"""Stream mode with DingTalk's unmodified SDK."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import dingtalk_stream
import pytest
import requests
from dingtalk_stream import AckMessage

from playground import world
from playground.server import Playground
from tests.playground.clients import stream_client, streaming

Client = dingtalk_stream.DingTalkStreamClient


class Answering(dingtalk_stream.AsyncChatbotHandler):  # type: ignore[misc] # the SDK has no types
    """Answers each message by a function of its text, through the session webhook."""

    def __init__(self, answer: Callable[[str], str]) -> None:
        super().__init__(max_workers=1)
        self.answer = answer
        self.heard: list[Any] = []

    def process(self, message: Any) -> tuple[int, str]:
        incoming = dingtalk_stream.ChatbotMessage.from_dict(message.data)
        self.reply_text(self.answer(incoming.text.content), incoming)
        self.heard.append(incoming)
        return AckMessage.STATUS_OK, "OK"


def test_a_mention_is_heard_and_answered(playground: Playground, dingtalk: Client) -> None:
    """A mention in a group reaches the bot with DingTalk's keys, and sessionWebhook answers it."""
    handler = Answering(lambda text: f"heard [{text}]")
    dingtalk.register_callback_handler(dingtalk_stream.ChatbotMessage.TOPIC, handler)
    with streaming(dingtalk, playground):
        answer = playground.act(platform="dingtalk", channel="研发群", as_="张敏", say="@Shipmate 状态")
        assert answer["ack"]["code"] == 200
        playground.client.wait_for(lambda _: handler.heard)
        assert playground.act(platform="dingtalk", channel="研发群", say="只是聊天")["heard"] is False
        assert playground.act(platform="dingtalk", channel="运维通知", say="@Shipmate 状态")["heard"] is False
        playground.act(platform="dingtalk", as_="lilei", direct=True, say="状态")
        playground.client.wait_for(lambda _: len(handler.heard) == 2)
        handler.async_executor.shutdown()
    group, direct = handler.heard
    assert (group.conversation_type, group.is_in_at_list, group.sender_staff_id) == ("2", True, "manager4220")
    assert (group.conversation_title, group.robot_code) == ("研发群", world.DINGTALK_CLIENT_ID)
    assert (direct.conversation_type, direct.text.content) == ("1", "状态")
    assert playground.client.messages("dingtalk", "研发群")[1]["text"] == "heard [ 状态]"
    assert playground.client.messages("dingtalk", "@李雷")[1]["text"] == "heard [状态]"


def test_a_command_link_sends_its_text_as_the_clicker(playground: Playground, dingtalk: Client) -> None:
    """A dtmd link in markdown sends its text to the group; whether the bot hears it can be chosen."""
    handler = Answering(lambda text: "ok")
    dingtalk.register_callback_handler(dingtalk_stream.ChatbotMessage.TOPIC, handler)
    with streaming(dingtalk, playground):
        playground.act(platform="dingtalk", say="@Shipmate 状态")
        session = playground.client.deliveries()[0]["payload"]["sessionWebhook"]
        text = "[重试](dtmd://dingtalkclient/sendMessage?content=%E9%87%8D%E8%AF%95%20a%231)"
        requests.post(session, json={"msgtype": "markdown", "markdown": {"title": "t", "text": text}}, timeout=30)
        posts = playground.client.messages("dingtalk", "研发群")
        link = next(one for one in posts if one["payload"]["msgtype"] == "markdown")
        click = {"message": link["id"], "action": "link-1"}
        answer = playground.act(platform="dingtalk", as_="lilei", click=click)
        assert (answer["sent"], answer["message"]["author"]) == ("重试 a#1", "李雷")
        playground.client.options(dingtalk_links_mention=False)
        assert playground.act(platform="dingtalk", as_="lilei", click=click)["heard"] is False
        playground.client.wait_for(lambda _: len(handler.heard) == 2)
        handler.async_executor.shutdown()
    assert handler.heard[1].sender_staff_id == "lilei0017"


def test_a_session_expires(start: Callable[..., Playground]) -> None:
    """A sessionWebhook is good for a while, and unknown ones for nothing."""
    playground = start(dingtalk_session_s=-1.0)
    playground.act(platform="dingtalk", say="@Shipmate 状态")
    session = playground.client.deliveries()[0]["payload"]["sessionWebhook"]
    body = {"msgtype": "text", "text": {"content": "late"}}
    assert requests.post(session, json=body, timeout=30).json()["errcode"] == 300001
    assert requests.post(session + "x", json=body, timeout=30).json()["errcode"] == 300001


def test_a_failed_callback_comes_again(start: Callable[..., Playground], monkeypatch: pytest.MonkeyPatch) -> None:
    """A callback acknowledged with an error is pushed again with the same message id."""
    playground = start(dingtalk_ack_timeout_s=1.0)
    seen: list[str] = []
    done = threading.Event()

    class Failing(dingtalk_stream.ChatbotHandler):  # type: ignore[misc] # the SDK has no types
        async def process(self, message: Any) -> tuple[int, str]:
            seen.append(message.data["msgId"])
            if len(seen) < 3:
                return AckMessage.STATUS_SYSTEM_EXCEPTION, "not yet"
            done.set()
            return AckMessage.STATUS_OK, "OK"

    client = stream_client(playground, monkeypatch)
    client.register_callback_handler(dingtalk_stream.ChatbotMessage.TOPIC, Failing())
    with streaming(client, playground):
        playground.act(platform="dingtalk", say="@Shipmate 状态")
        assert done.wait(30)
        playground.client.wait_for(lambda _: playground.client.deliveries()[-1]["is_acked"])
    assert len(set(seen)) == 1
    assert [one["attempt"] for one in playground.client.deliveries()] == [0, 1, 2]


def test_only_subscribed_topics_are_pushed(playground: Playground, dingtalk: Client) -> None:
    """A connection that did not subscribe to robot messages gets none."""
    with streaming(dingtalk, playground):
        answer = playground.act(platform="dingtalk", say="@Shipmate 状态")
    assert answer["ack"] is None
    assert playground.client.deliveries()[0]["error"] == "no_connection"


def test_the_client_comes_back_after_a_disconnect(playground: Playground, dingtalk: Client) -> None:
    """A SYSTEM disconnect ends the connection, and the SDK opens another with a new ticket."""
    handler = Answering(lambda text: "ok")
    dingtalk.register_callback_handler(dingtalk_stream.ChatbotMessage.TOPIC, handler)
    opening = "POST /v1.0/gateway/connections/open"
    with streaming(dingtalk, playground):
        playground.act(platform="dingtalk", disconnect=True)
        playground.client.wait_for(lambda _: len(playground.calls(method=opening)) == 2)
        playground.client.wait_for(lambda state: state["platforms"]["dingtalk"]["connections"] == 1)
        assert playground.act(platform="dingtalk", say="@Shipmate 状态")["ack"]["code"] == 200
        handler.async_executor.shutdown()


def test_wrong_credentials_open_nothing(playground: Playground, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway refuses a wrong secret, and a ticket that was not given opens no stream."""
    client = stream_client(playground, monkeypatch, secret="wrong")
    assert client.open_connection() is None
    [call] = playground.calls()
    assert (call["status"], call["answer"]["code"]) == (401, "authFailed")
    assert "clientSecret" not in call["arguments"]
    assert requests.get(f"{playground.url}/dingtalk/stream?ticket=made-up", timeout=30).status_code == 401


def test_the_sdk_is_redirected_by_its_environment_variable(playground: Playground) -> None:
    """DINGTALK_OPENAPI_ENDPOINT alone leads an unchanged SDK to the playground."""
    script = (
        "import dingtalk_stream as d;"
        f"c=d.DingTalkStreamClient(d.Credential('{world.DINGTALK_CLIENT_ID}','{world.DINGTALK_CLIENT_SECRET}'));"
        "print(len(c.get_access_token()), c.open_connection()['endpoint'])"
    )
    environment = os.environ | {"DINGTALK_OPENAPI_ENDPOINT": f"{playground.url}/dingtalk/api"}
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["32", f"{playground.url.replace('http', 'ws')}/dingtalk/stream"]
