"""The control API, faults, and the server's life."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests
from slack_sdk import WebClient

from playground import world
from playground.client import ControlError
from playground.options import Options
from playground.server import Playground
from tests.playground.clients import DingTalkApi


def post(playground: Playground, channel: str = "#ci") -> requests.Response:
    """One chat.postMessage over plain requests, tried once."""
    headers = {"Authorization": f"Bearer {world.SLACK_BOT_TOKEN}"}
    body = {"channel": channel, "text": "x"}
    return requests.post(f"{playground.url}/slack/api/chat.postMessage", json=body, headers=headers, timeout=30)


def test_calls_are_numbered_and_narrowed(playground: Playground, slack: WebClient) -> None:
    """Each call is recorded with its arguments, place, answer and status; `since` and filters narrow the list."""
    slack.auth_test()
    ts = slack.chat_postMessage(channel="C024CI00001", text="x")["ts"]
    post(playground, "#random")
    calls = playground.calls()
    assert [(one["seq"], one["method"], one["place"]) for one in calls] == [
        (1, "auth.test", ""),
        (2, "chat.postMessage", "#ci"),
        (3, "chat.postMessage", "#random"),
    ]
    assert (calls[1]["answer"]["ts"], calls[1]["arguments"]["text"], calls[1]["status"]) == (ts, "x", 200)
    assert calls[2]["answer"] == {"ok": False, "error": "not_in_channel"}
    assert abs(calls[1]["time"] - time.time()) < 10
    assert [one["seq"] for one in playground.calls(since=1, place="#ci")] == [2]
    assert playground.calls(since=3) == playground.calls(platform="dingtalk") == []


def test_the_record_is_bounded(start: Callable[..., Playground]) -> None:
    """Old calls and messages go when there are too many, also those to one person alone, and numbers go on."""
    playground = start(calls_kept=5, messages_kept=3, budgets=False)
    slack = WebClient(world.SLACK_BOT_TOKEN, base_url=f"{playground.url}/slack/api/")
    for number in range(5):
        slack.chat_postEphemeral(channel="C024CI00001", user="U024ALICE01", text=f"psst {number}")
    whispers = playground.state(platform="slack")["platforms"]["slack"]["ephemeral"]
    assert [one["text"] for one in whispers] == ["psst 2", "psst 3", "psst 4"]
    playground.client.reset()
    for _ in range(8):
        post(playground)
    assert [one["seq"] for one in playground.calls()] == [4, 5, 6, 7, 8]
    assert [one["seq"] for one in playground.calls(since=6)] == [7, 8]
    assert len(playground.client.messages("slack", "#ci")) == 3
    recent = playground.state(platform="slack", recent=1)["platforms"]["slack"]["channels"]["#ci"]["messages"]
    assert [one["id"] for one in recent] == [playground.calls(since=7)[0]["answer"]["ts"]]


def test_a_down_platform_resets_the_connection(playground: Playground) -> None:
    """`down` does nothing and answers nothing, as often as `times` says."""
    playground.client.faults({"platform": "slack", "kind": "down", "times": 1})
    with pytest.raises(requests.ConnectionError):
        post(playground)
    assert playground.client.messages("slack", "#ci") == []
    assert post(playground).json()["ok"] is True
    assert [(one["status"], one.get("fault")) for one in playground.calls()] == [(0, "down"), (200, None)]


def test_a_lost_answer_did_its_work(playground: Playground) -> None:
    """`lost_answer` shows the message and then resets the connection."""
    playground.client.faults({"platform": "slack", "method": "chat.*", "kind": "lost_answer", "times": 1})
    with pytest.raises(requests.ConnectionError):
        post(playground)
    assert len(playground.client.messages("slack", "#ci")) == 1


def test_other_faults(playground: Playground, api: DingTalkApi) -> None:
    """HTML errors, JSON bodies, 429s and slowness; faults of one place or method leave the others alone."""
    playground.client.faults({"kind": "status", "place": "#ci", "status": 503})
    answer = post(playground)
    assert (answer.status_code, answer.text[:6], answer.headers["Content-Type"][:9]) == (503, "<html>", "text/html")
    assert post(playground, "#deploys").json()["ok"] is True
    playground.client.faults({"kind": "status", "status": 200, "body": {"ok": False, "error": "fatal_error"}})
    assert post(playground).json()["error"] == "fatal_error"
    playground.client.faults({"platform": "slack", "kind": "retry_after", "retry_after": 7})
    answer = post(playground)
    assert (answer.status_code, answer.headers["Retry-After"], answer.json()["error"]) == (429, "7", "ratelimited")
    assert api.call("POST", "/v1.0/oauth2/accessToken", {"appKey": "x"}).status_code == 400
    playground.client.faults({"platform": "dingtalk", "kind": "retry_after"})
    assert api.call("PUT", "/v1.0/card/instances", {}).status_code == 403
    url = f"{playground.url}/dingtalk/oapi/robot/send?access_token={world.DINGTALK_ROBOT_TOKEN}"
    assert requests.post(url, json={}, timeout=30).json()["errcode"] == 130101
    playground.client.faults({"kind": "slow", "delay_s": 0.2})
    before = time.monotonic()
    assert post(playground).json()["ok"] is True
    assert time.monotonic() - before >= 0.2
    playground.client.faults()
    assert playground.state()["faults"] == []


@pytest.mark.parametrize(
    ("verb", "path", "body", "problem"),
    [
        ("PUT", "/api/faults", [{"kind": "meteor"}], "kind is one of"),
        ("PUT", "/api/faults", [{"kind": "down", "colour": "red"}], "no colour"),
        ("PUT", "/api/faults", 7, "list"),
        ("PUT", "/api/options", {"port": 1}, "no option 'port'"),
        ("PUT", "/api/options", {"budgets": "no"}, "true or false"),
        ("POST", "/api/act", {"platform": "telegraph", "say": "x"}, "no platform"),
        ("POST", "/api/act", {"platform": "slack"}, "an act needs one of"),
        ("POST", "/api/act", {"platform": "slack", "as": "nobody", "say": "x"}, "nobody is called"),
        ("POST", "/api/act", {"platform": "slack", "channel": "#nowhere", "say": "x"}, "no channel"),
        ("POST", "/api/act", {"platform": "slack", "click": {"message": "1.1"}}, "no message"),
        ("POST", "/api/act", {"platform": "dingtalk", "click": {"action": "a"}}, "needs 'message'"),
        ("POST", "/api/act", [], "object"),
    ],
)
def test_bad_input_is_named(playground: Playground, verb: str, path: str, body: Any, problem: str) -> None:
    """A wrong control call is refused with a sentence."""
    with pytest.raises(ControlError, match=problem):
        playground.client.request(verb, path, body)


def test_a_body_that_is_no_json_is_refused(playground: Playground) -> None:
    """Garbage gets a 400, not a 500."""
    assert requests.post(f"{playground.url}/api/act", data="{", timeout=30).status_code == 400


def test_reset_restores_everything(playground: Playground, slack: WebClient) -> None:
    """Messages, calls, faults, options, budgets and created channels are as at the start."""
    playground.act(platform="slack", create="#bench")
    for _ in range(3):
        slack.chat_postMessage(channel="#bench", text="x")
    playground.client.options(slack_token_revoked=True)
    playground.client.faults({"kind": "down", "method": "nothing"})
    playground.client.reset()
    state = playground.state()
    assert set(state["platforms"]["slack"]["channels"]) == {"#ci", "#deploys", "#random"}
    assert (playground.calls(), state["faults"], state["last_call"]) == ([], [], 0)
    playground.act(platform="slack", create="#bench")
    assert slack.chat_postMessage(channel="#bench", text="x")["ok"] is True


def test_a_created_group_can_be_written_to(playground: Playground, api: DingTalkApi) -> None:
    """Channels and groups for tests get ids that follow from their names."""
    first = playground.act(platform="slack", create="#bench-1")["channel"]
    assert playground.act(platform="slack", create="bench-1")["channel"] == first
    group = playground.act(platform="dingtalk", create="压测群")["channel"]["id"]
    body = {"robotCode": world.DINGTALK_CLIENT_ID, "openConversationId": group, "msgKey": "sampleText"}
    sample = json.dumps({"content": "hi"})
    assert api.call("POST", "/v1.0/robot/groupMessages/send", body | {"msgParam": sample}).status_code == 200


def test_changes_are_streamed(playground: Playground) -> None:
    """The event stream says the revision at once and after each change; a waiting state call returns with it."""
    with requests.get(f"{playground.url}/api/stream", stream=True, timeout=30) as stream:
        lines = stream.iter_lines()
        first = int(next(lines).removeprefix(b"data: "))
        assert next(lines) == b""
        threading.Thread(target=post, args=(playground,)).start()
        assert int(next(lines).removeprefix(b"data: ")) > first
    revision = playground.state()["revision"]
    threading.Thread(target=post, args=(playground,)).start()
    assert playground.state(beyond=revision, timeout_s=30)["revision"] > revision


def test_the_page_needs_nothing_from_elsewhere(playground: Playground) -> None:
    """The page, its style and scripts come from the playground and forbid everything else."""
    for path in ("/", "/style.css", "/app.js", "/draw.js", "/slack.js", "/dingtalk.js", "/emoji.json"):
        answer = requests.get(playground.url + path, timeout=30)
        assert answer.status_code == 200
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "innerHTML" not in answer.text.replace("without innerHTML", "")
    people = requests.get(f"{playground.url}/api/world", timeout=30).json()
    assert [one["name"] for one in people["dingtalk"]["people"]] == ["张敏", "李雷"]


def test_a_taken_port_is_said_plainly(playground: Playground) -> None:
    """A second playground on the same port fails at once, in a thread and on the command line."""
    port = int(playground.url.rpartition(":")[2])
    with pytest.raises(OSError, match="in use"):
        Playground(Options(port=port)).start()
    command = [sys.executable, "-m", "playground", "--port", str(port)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith(f"playground: cannot listen on 127.0.0.1:{port}")


def test_the_command_line_serves_until_interrupted() -> None:
    """`python -m playground` prints its address, answers, and ends cleanly on SIGTERM."""
    command = [sys.executable, "-m", "playground", "--port", "0", "--no-budgets", "--channel", "#more"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        assert "#more" in requests.get(f"{url}/api/state", timeout=30).json()["platforms"]["slack"]["channels"]
        process.terminate()
        assert process.wait(timeout=30) == 0
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))) != 0
