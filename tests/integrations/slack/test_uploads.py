"""Pictures below cards, uploaded to the playground in Slack's three steps."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import requests

from bot.domain.cards import Card, Notice, Picture, Tone, text
from bot.domain.places import Place
from bot.errors import DestinationGone, OutcomeUnknown, RateLimited, Rejected, Unavailable
from integrations.slack.manifest import SCOPES
from integrations.spec import Platform
from playground import world
from playground.options import Json
from playground.server import Playground

Build = Callable[..., Platform]
CI = world.SLACK_CHANNELS[0]
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
CHART = Notice(
    "📈", text("errors: 0.2 (≤ 0.1) <!here>"), picture=Picture(PNG, "errors · user-service#1", "chart@errors@1")
)
BYTES, SHARE = "upload", "files.completeUploadExternal"


def _send(platform: Platform, parent: str | None = None, place: Place | None = None) -> str:
    place = place or platform.messenger.resolve("slack:#ci")
    return platform.messenger.send(place, platform.messenger.render(CHART, place), attempt_id="A7", parent=parent)


def _card(platform: Platform) -> str:
    place = platform.messenger.resolve("slack:#ci")
    return platform.messenger.send(place, platform.messenger.render(Card(Tone.SUCCESS, "v1"), place), attempt_id="A1")


def _thread(playground: Playground) -> list[Json]:
    return list(playground.client.messages("slack", "#ci")[0]["thread"])


def test_a_picture_stands_in_the_thread_of_its_card(build: Build, playground: Playground) -> None:
    """It has its title and words, which mention nobody; the page gets the very bytes."""
    platform = build()
    _send(platform, _card(platform))
    [post] = _thread(playground)
    assert post["text"] == "📈 errors: 0.2 (≤ 0.1) <!here>\nerrors · user-service#1"
    [file] = post["payload"]["files"]
    answer = requests.get(file["url_private"], timeout=30)
    assert (answer.content, answer.headers["Content-Type"]) == (PNG, "image/png")


def test_the_same_picture_has_the_same_digest(build: Build) -> None:
    """Whatever the bytes are: fonts differ from host to host."""
    platform = build()
    place = Place("slack:T/C1", "#ci")
    other = Notice("📈", text("other"), picture=Picture(b"other", "other", "chart@errors@1"))
    assert platform.messenger.render(CHART, place).digest == platform.messenger.render(other, place).digest


def test_a_lost_answer_is_found_by_the_files_name(build: Build, playground: Playground) -> None:
    """The picture was shared, though nobody heard so: it is not shared twice."""
    platform = build()
    card = _card(platform)
    since = datetime.now(UTC) - timedelta(seconds=5)
    place = platform.messenger.resolve("slack:#ci")
    assert platform.messenger.find(place, attempt_id="A7", since=since, parent=card) is None
    playground.client.faults({"kind": "lost_answer", "method": SHARE, "times": 1})
    with pytest.raises(OutcomeUnknown):
        _send(platform, card)
    found = platform.messenger.find(place, attempt_id="A7", since=since, parent=card)
    assert found == f"{CI.id}/{_thread(playground)[0]['id']}"


@pytest.mark.parametrize("method", ["files.getUploadURLExternal", BYTES])
def test_what_was_not_shared_was_seen_by_nobody(build: Build, playground: Playground, method: str) -> None:
    """A ticket or bytes whose answer is lost leave no doubt: all of it may be done again."""
    platform = build()
    card = _card(platform)
    playground.client.faults({"kind": "lost_answer", "method": method, "times": 1})
    with pytest.raises(Unavailable):
        _send(platform, card)
    _send(platform, card)
    assert len(_thread(playground)) == 1


def test_refusals_are_told_apart(build: Build, playground: Playground) -> None:
    """A pause is obeyed, a channel that is gone is gone, bytes that are refused are tried again."""
    platform = build()
    card = _card(platform)
    playground.client.faults({"kind": "retry_after", "method": SHARE, "times": 1, "retry_after": 7})
    with pytest.raises(RateLimited) as limited:
        _send(platform, card)
    assert (limited.value.retry_after_s, limited.value.scope) == (7.0, "account")
    with pytest.raises(DestinationGone):
        _send(platform, place=Place(f"slack:{world.SLACK_TEAM}/C0NOWHERE", "#gone"))
    playground.client.faults({"kind": "status", "method": BYTES, "times": 1, "status": 502, "body": "<html>"})
    with pytest.raises(Unavailable) as refused:
        _send(platform, card)
    assert refused.value.reason == "upload_refused"


def test_an_app_that_may_not_upload_loses_the_picture_alone(build: Build, playground: Playground) -> None:
    """Without the scope the picture is given up; it is no reason to rest for the channel's cards."""
    playground.client.options(slack_scopes=[scope for scope in SCOPES if scope != "files:write"])
    platform = build()
    with pytest.raises(Rejected) as caught:
        _send(platform, _card(platform))
    assert caught.value.reason == "missing_scope"
