"""Webhook robots, session webhooks and the robot API, over plain requests."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest
import requests

from playground import world
from playground.server import Playground
from tests.playground.clients import DingTalkApi

TEXT = {"msgtype": "text", "text": {"content": "Shipmate says hi"}}


def signature(timestamp: int, secret: str = world.DINGTALK_ROBOT_SECRET) -> str:
    """The signature DingTalk asks for."""
    digest = hmac.new(secret.encode(), f"{timestamp}\n{secret}".encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def send(playground: Playground, body: object, **query: Any) -> dict[str, Any]:
    """Send by the signed robot; what `query` gives takes the place of the right values."""
    now = int(time.time() * 1000)
    right: dict[str, Any] = {"access_token": world.DINGTALK_ROBOT_TOKEN, "timestamp": now}
    right |= {key: value for key, value in query.items() if key != "sign"}
    right["sign"] = query.get("sign", signature(int(right["timestamp"])))
    answer = requests.post(f"{playground.url}/dingtalk/oapi/robot/send", params=right, json=body, timeout=30)
    assert answer.status_code == 200
    return dict(answer.json())


def test_a_signed_message_is_shown(playground: Playground) -> None:
    """A rightly signed text answers errcode 0 and stands in the group."""
    assert send(playground, TEXT) == {"errcode": 0, "errmsg": "ok"}
    assert [one["text"] for one in playground.client.messages("dingtalk", "运维通知")] == ["Shipmate says hi"]


@pytest.mark.parametrize(
    ("body", "query", "errcode"),
    [
        (TEXT, {"access_token": "other"}, 300005),
        (TEXT, {"sign": "wrong"}, 310000),
        (TEXT, {"timestamp": int(time.time() * 1000) - 3_700_000}, 310000),
        ({"msgtype": "text"}, {}, 40035),
        ({"text": {"content": "x"}}, {}, 40035),
        ({"msgtype": "card", "card": {}}, {}, 400105),
        ({"msgtype": "markdown", "markdown": {"text": "x"}}, {}, 40035),
        ({"msgtype": "link", "link": {"title": "x", "text": "y", "messageURL": "z"}}, {}, 40035),
        ({"msgtype": "actionCard", "actionCard": {"title": "x", "text": "y", "btns": [{"title": "b"}]}}, {}, 40035),
        ({"msgtype": "text", "text": {"content": "测" * 7_000}}, {}, 460101),
        (["no object"], {}, 40035),
    ],
)
def test_errors_come_with_status_200(playground: Playground, body: Any, query: dict[str, Any], errcode: int) -> None:
    """Each mistake has its errcode in a 200 answer and shows nothing."""
    assert send(playground, body, **query)["errcode"] == errcode
    assert playground.client.messages("dingtalk", "运维通知") == []


def test_verb_and_content_type_matter(playground: Playground) -> None:
    """GET and a form are refused by errcode as well."""
    url = f"{playground.url}/dingtalk/oapi/robot/send?access_token={world.DINGTALK_ROBOT_TOKEN}"
    assert requests.get(url, timeout=30).json()["errcode"] == 43002
    assert requests.post(url, data={"a": "b"}, timeout=30).json()["errcode"] == 43004


def test_a_robot_by_keyword_needs_its_keyword(playground: Playground) -> None:
    """Without the keyword in the text the message is refused; with it no signature is needed."""
    url = f"{playground.url}/dingtalk/oapi/robot/send?access_token={world.DINGTALK_KEYWORD_ROBOT_TOKEN}"
    refused = requests.post(url, json={"msgtype": "text", "text": {"content": "hi"}}, timeout=30).json()
    assert (refused["errcode"], refused["errmsg"]) == (310000, "keywords not in content")
    assert requests.post(url, json=TEXT, timeout=30).json()["errcode"] == 0


def test_twenty_a_minute_then_throttled(playground: Playground) -> None:
    """The 21st message is refused, and so is every other until the throttle ends; other robots go on."""
    assert [send(playground, TEXT)["errcode"] for _ in range(22)] == [0] * 20 + [130101] * 2
    playground.client.options(budgets=False)
    assert send(playground, TEXT)["errcode"] == 0


def test_every_message_type_reads_well(playground: Playground) -> None:
    """Markdown, action cards, links and feeds are shown with their links and buttons."""
    markdown = (
        "### 构建\n- **失败** [重试](dtmd://dingtalkclient/sendMessage?content=%E9%87%8D%E8%AF%95) [CI](https://ci)"
    )
    send(playground, {"msgtype": "markdown", "markdown": {"title": "t", "text": markdown}})
    card = {"title": "T", "text": "**x**", "btns": [{"title": "Open", "actionURL": "https://a"}]}
    send(playground, {"msgtype": "actionCard", "actionCard": card})
    link = {"title": "L", "text": "y", "messageUrl": "https://b"}
    send(playground, {"msgtype": "link", "link": link})
    send(playground, {"msgtype": "feedCard", "feedCard": {"links": [{"title": "F", "messageURL": "https://c"}]}})
    shown = playground.client.messages("dingtalk", "运维通知")
    assert [one["text"] for one in shown] == ["构建\n- 失败 重试 CI", "x", "L\ny", "F"]
    assert [[each["label"] for each in one["actions"]] for one in shown] == [["重试", "CI"], ["Open"], ["L"], ["F"]]
    opened = playground.act(
        platform="dingtalk", channel="运维通知", click={"message": shown[1]["id"], "action": "button-1"}
    )
    assert opened["opened"] == "https://a"
    clicked = playground.act(
        platform="dingtalk", channel="运维通知", click={"message": shown[0]["id"], "action": "link-1"}
    )
    assert (clicked["sent"], clicked["heard"]) == ("重试", False)


def test_the_robot_api_writes_to_groups_and_people(playground: Playground, api: DingTalkApi) -> None:
    """Group and one-to-one messages need the robot's code, a known place and a JSON string."""
    group = {"robotCode": world.DINGTALK_CLIENT_ID, "openConversationId": world.DINGTALK_GROUP}
    sample = {"msgKey": "sampleMarkdown", "msgParam": json.dumps({"title": "t", "text": "**hi**"})}
    assert "processQueryKey" in api.call("POST", "/v1.0/robot/groupMessages/send", group | sample).json()
    assert playground.client.messages("dingtalk", "研发群")[0]["text"] == "hi"
    for change in ({"robotCode": "x"}, {"openConversationId": "x"}, {"openConversationId": world.DINGTALK_OPS_GROUP}):
        refused = api.call("POST", "/v1.0/robot/groupMessages/send", group | sample | change)
        assert refused.status_code == 400
        assert set(refused.json()) == {"code", "message", "requestid"}
    for change in ({"msgParam": {"title": "t"}}, {"msgKey": "other"}, {"msgParam": "{}"}):
        assert api.call("POST", "/v1.0/robot/groupMessages/send", group | sample | change).status_code == 400
    people = {"robotCode": world.DINGTALK_CLIENT_ID, "userIds": ["manager4220", "nobody"]}
    answer = api.call("POST", "/v1.0/robot/oToMessages/batchSend", people | sample).json()
    assert answer["invalidStaffIdList"] == ["nobody"]
    assert playground.client.messages("dingtalk", "@张敏")[0]["text"] == "hi"


def test_tokens_are_needed_and_expire(playground: Playground, api: DingTalkApi) -> None:
    """A wrong or expired token is HTTP 401; wrong credentials get none; the old host gives tokens too."""
    body = {"robotCode": world.DINGTALK_CLIENT_ID, "openConversationId": world.DINGTALK_GROUP}
    refused = api.call("POST", "/v1.0/robot/groupMessages/send", body, token="wrong")
    assert (refused.status_code, refused.json()["code"]) == (401, "InvalidAuthentication")
    playground.act(platform="dingtalk", expire_tokens=True)
    assert api.call("POST", "/v1.0/robot/groupMessages/send", body).status_code == 401
    wrong = api.call("POST", "/v1.0/oauth2/accessToken", {"appKey": "x", "appSecret": "y"})
    assert wrong.status_code == 400
    url = f"{playground.url}/dingtalk/oapi/gettoken?appkey={world.DINGTALK_CLIENT_ID}&appsecret="
    assert requests.get(url + world.DINGTALK_CLIENT_SECRET, timeout=30).json()["errcode"] == 0
    assert requests.get(url + "wrong", timeout=30).json()["errcode"] == 40089
    assert api.call("POST", "/v1.0/nowhere", {}, token="").status_code == 401
