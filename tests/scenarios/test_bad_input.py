"""What senders and people get wrong: a clear answer, and nothing stored that should not be."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.running import BUILDBOT_TOKEN, CI, DEV_GROUP, Scene, fresh, signed

RECORDED = Path(__file__).parents[1] / "integrations" / "buildbot" / "payloads"
BUILD = {"event": "build.started", "project": "quiet-shop", "number": 1}
MIB = 1024 * 1024


def encoded(**changed: Any) -> bytes:
    """A body of the generic door."""
    return json.dumps({**BUILD, **changed}).encode()


def chunked(body: bytes) -> Iterator[bytes]:
    """A body without Content-Length, as a stream sends it."""
    for start in range(0, len(body), 65536):
        yield body[start : start + 65536]


REFUSED: dict[str, tuple[Callable[[], tuple[Any, dict[str, str]]], int, str]] = {
    "unsigned": (lambda: (encoded(), {}), 401, "webhook-id is missing"),
    "signed by another": (
        lambda: (encoded(), signed(encoded()) | {"webhook-signature": "v1,bm90IHRoZSBzaWduYXR1cmU="}),
        401,
        "webhook-signature does not match",
    ),
    "changed on the way": (lambda: (encoded(number=2), signed(encoded())), 401, "webhook-signature does not match"),
    "stale": (lambda: (encoded(), signed(encoded(), at=time.time() - 301)), 401, "more than five minutes"),
    "of the future": (lambda: (encoded(), signed(encoded(), at=time.time() + 310)), 401, "more than five minutes"),
    "dated in words": (
        lambda: (encoded(), signed(encoded()) | {"webhook-timestamp": "yesterday"}),
        401,
        "webhook-timestamp must be whole seconds",
    ),
    "oversized": (lambda: (b" " * (MIB + 1), signed(b"")), 413, "larger than 1048576 bytes"),
    "oversized in chunks": (lambda: (chunked(b" " * (MIB + 1)), signed(b"")), 413, "larger"),
    "no JSON": (lambda: (b"{not json", signed(b"{not json")), 400, "Invalid JSON"),
    "empty": (lambda: (b"", signed(b"")), 400, "Invalid JSON"),
    "of the wrong type": (lambda: (encoded(number=[1]), signed(encoded(number=[1]))), 400, "number"),
    "with a field of no schema": (lambda: (encoded(colour="red"), signed(encoded(colour="red"))), 400, "colour"),
    "ended without an outcome": (
        lambda: (encoded(event="build.finished"), signed(encoded(event="build.finished"))),
        400,
        "build.finished needs",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_webhook_changes_nothing(scene: Scene, name: str) -> None:
    """The sender gets a status and a reason; no event, build, card or command is stored; the bot stays well."""
    make, status, reason = REFUSED[name]
    before = scene.counted()
    answer = scene.post(*make())
    assert (answer.status_code, answer.json()["status"]) == (status, "error"), answer.text
    assert reason in answer.json()["reason"]
    assert scene.counted() == before
    assert scene.session.get(f"{scene.bot.url}/readyz", timeout=30).status_code == 200


def test_an_unknown_event_is_taken_and_counted(scene: Scene) -> None:
    """A sender that is newer than the bot is not told off: 202, and nothing stored."""
    before, body = scene.counted(), encoded(event="build.archived")
    answer = scene.post(body, signed(body))
    assert (answer.status_code, answer.json()["reason"]) == (202, "unknown:event")
    assert scene.counted() == before


def test_the_same_delivery_twice_is_one_event_and_one_card(scene: Scene) -> None:
    """A repeated delivery is answered with 200 and shows nothing new; its id alone decides."""
    project = fresh("web")
    body = encoded(project=project)
    headers = signed(body, delivery_id=fresh("delivery"))
    assert [scene.post(body, headers).status_code for _ in range(3)] == [202, 200, 200]
    scene.card(CI, f"{project} #1")
    assert scene.events(project) == 1


def test_an_unknown_source_is_said(scene: Scene) -> None:
    """A wrong address gets 404 with the reason."""
    answer = scene.post(encoded(), {}, source="nobody")
    assert (answer.status_code, answer.json()["reason"]) == (404, "there is no source 'nobody'")


@pytest.mark.parametrize(
    ("token", "body", "status", "reason"),
    [
        (None, b"{}", 401, "X-Bot-Token is missing"),
        ("guessed", b"{}", 401, "X-Bot-Token is not the configured token"),
        (BUILDBOT_TOKEN, b"<build/>", 400, "the body is not JSON"),
        (BUILDBOT_TOKEN, b'["build"]', 400, "must be a JSON object"),
        (BUILDBOT_TOKEN, b'{"buildid": 1, "builder": "x"}', 400, "builder.name"),
        (BUILDBOT_TOKEN, b'{"worker": "lost"}', 202, "unknown:no_build"),
    ],
)
def test_buildbots_door_says_what_is_wrong(
    scene: Scene, token: str | None, body: bytes, status: int, reason: str
) -> None:
    """Buildbot's log tells its operator why a push was not taken."""
    before = scene.counted()
    answer = scene.post(body, {"X-Bot-Token": token} if token else {}, source="buildbot")
    assert answer.status_code == status, answer.text
    assert reason in answer.json()["reason"]
    assert scene.counted() == before


def test_a_recorded_push_of_buildbot_comes_twice(scene: Scene) -> None:
    """Buildbot's own body is one event, however often it is posted."""
    recorded = json.loads((RECORDED / "finished__failure.http.json").read_text("utf-8"))
    body = recorded["body"] if isinstance(recorded["body"], str) else json.dumps(recorded["body"])
    headers = {"X-Bot-Token": BUILDBOT_TOKEN, "Content-Type": "application/json"}
    answers = [scene.post(body.encode(), headers, source="buildbot") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 200]
    assert answers[1].json()["reason"] == "duplicate"
    assert scene.events("user-service") == 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/ship statsu", ("I do not know that command", "/ship status")),
        ("/ship frobnicate", ("I do not know that command", "/ship help")),
        ("/ship retry", ("Something is missing", "retry <project>#<number>")),
        ("/ship retry user-service", ("That is no build", "user-service#12")),
        ("/ship retry #12", ("That is no build",)),
        ("/ship show nowhere#1", ("no project of that name",)),
        ("/ship subscribe nowhere", ("no project of that name",)),
        (f"/ship {'x' * 600}", ("too long",)),
    ],
)
def test_a_line_that_is_no_command_gets_a_hint(scene: Scene, line: str, words: tuple[str, ...]) -> None:
    """The asker alone reads what is wrong and what to write instead."""
    said = scene.ask(CI, line, *words)
    assert "🤔" in said
    assert not any(word in one["text"] for one in scene.messages(CI)[-1:] for word in ("I do not know that command",))


def test_a_mistyped_chinese_line_gets_a_hint(scene: Scene) -> None:
    """In a Chinese group the hint is Chinese."""
    assert "@Shipmate 状态" in scene.ask(DEV_GROUP, "@Shipmate statsu", "🤔 我不认识这个命令", "@Shipmate 帮助")


def test_a_build_nobody_heard_of_is_said(scene: Scene) -> None:
    """A known project with an unknown number gets a sentence of its own."""
    project = fresh("web")
    scene.tell(project, 1, "started")
    scene.card(CI, f"{project} #1")
    assert f"{project}#2" in scene.ask(CI, f"/ship show {project}#2", "I know no such build")


def test_a_source_that_only_tells_cannot_be_told(scene: Scene) -> None:
    """No button for it on a card of the generic door; who types it gets a sentence, and each time is judged anew."""
    project = fresh("web")
    scene.tell(project, 1, "finished", status="failed")
    card = scene.card(CI, f"{project} #1", "failed")
    assert [str(one["id"]) for one in card["actions"]] == ["ship:details"]
    for person in ("alice", "chenwei"):
        before = scene.whispers()
        scene.say(CI, f"/ship retry {project}#1", person)
        account = {"alice": "U024ALICE01", "chenwei": "U024CHENWEI"}[person]
        expected = "I cannot act on it" if person == "alice" else "You have no role here"
        scene.whisper(account, expected, since=before)
    assert [entry["outcome"] for entry in scene.audited(3, project)][1:] == ["conflict:read_only", "refused:no_role"]
