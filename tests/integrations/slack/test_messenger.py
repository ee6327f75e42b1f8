"""Posting, changing and finding messages at the playground."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.domain.budgets import Budget, Window
from bot.domain.cards import Action, Card, Notice, Tone, text
from bot.domain.places import Operation, Place
from bot.errors import AuthFailed, DestinationGone, OutcomeUnknown, RateLimited, Unavailable
from integrations.slack import SPEC
from integrations.slack.client import CLOCK_SKEW_S
from integrations.slack.config import SlackDestination
from integrations.slack.times import SlackTime
from integrations.spec import Platform
from playground import world
from playground.options import Json
from playground.server import Playground
from tests.fakes import FakeClock

Build = Callable[..., Platform]
CI = world.SLACK_CHANNELS[0]
CARD = Card(
    Tone.FAILURE,
    "user-service #1 · failed",
    emoji="❌",
    actions=(Action("retry", "Retry", "retry buildbot/user-service#1@1"),),
)
FIXED = Card(Tone.SUCCESS, "user-service #1 · succeeded", emoji="✅")
REMARK = Notice("❌", text("tests failed"))


def _place(platform: Platform, address: str = "slack:#ci") -> Place:
    return platform.messenger.resolve(address)


def _send(platform: Platform, content: Card | Notice = CARD, attempt: str = "A1", **more: Any) -> str:
    place = _place(platform)
    return platform.messenger.send(place, platform.messenger.render(content, place), attempt_id=attempt, **more)


def _shown(playground: Playground) -> list[Json]:
    return playground.client.messages("slack", "#ci")


@pytest.mark.parametrize("address", ["slack:#ci", "slack:#CI", f"slack:{CI.id}"])
def test_a_channel_has_one_key_by_name_and_by_id(build: Build, address: str) -> None:
    """Two spellings of one channel are one place."""
    place = _place(build(), address)
    assert place.key == f"slack:{world.SLACK_TEAM}/{CI.id}"
    assert place.label.lower() == "#ci"


def test_a_person_is_a_place(build: Build) -> None:
    """A destination may be somebody's direct messages."""
    assert _place(build(), "slack:U024ALICE01").id == "D024ALICE01"


@pytest.mark.parametrize("address", ["slack:#nowhere", "slack:C0000000000"])
def test_an_unknown_channel_is_gone(build: Build, address: str) -> None:
    """An operator reads which."""
    with pytest.raises(DestinationGone) as caught:
        _place(build(), address)
    assert caught.value.reason == "channel_not_found"


def test_an_address_is_made_of_the_destination() -> None:
    """A destination is a channel's name or id."""
    assert SPEC.address("dev", SlackDestination.model_validate("#ci")) == "slack:#ci"


def test_a_place_can_everything_within_slacks_budgets(build: Build) -> None:
    """One call a second and channel; posts, changes and searches besides by the minute in the workspace."""
    platform = build()
    place = _place(platform)
    capabilities = platform.messenger.capabilities(place)
    assert (capabilities.can_edit, capabilities.can_thread, capabilities.can_find) == (True, True, True)
    assert capabilities.place_budget == Budget(place.key, 1.0)
    assert capabilities.account_budgets == {
        operation: (Window(f"slack:{world.SLACK_TEAM}:{method}", calls, 60.0),)
        for operation, method, calls in (
            (Operation.POST, "chat.postMessage", 300),
            (Operation.UPLOAD, "files.completeUploadExternal", 100),
            (Operation.UPDATE, "chat.update", 50),
            (Operation.WHISPER, "chat.postEphemeral", 100),
            (Operation.FIND, "conversations.history", 50),
        )
    }
    looked_up = {
        address: [
            window.scope
            for windows in platform.messenger.capabilities(Place(address, address)).account_budgets.values()
            for window in windows
        ]
        for address in ("slack:#ci", "slack:C0G9QF9GZ", "slack:U024BE7LH")
    }
    assert list(looked_up.values()) == [[], ["slack:conversations.info"], ["slack:conversations.open"]]
    lifted = build(budgets={"lifted": True}).messenger.capabilities(place)
    assert (lifted.place_budget, lifted.account_budgets) == (Budget(place.key, 0.0), {})


def test_a_card_is_posted_and_changed_in_place(build: Build, playground: Playground) -> None:
    """One card goes from failed to succeeded, and its button goes."""
    platform = build()
    ref = _send(platform)
    (message,) = _shown(playground)
    assert ref == f"{CI.id}/{message['id']}"
    assert [action["label"] for action in message["actions"]] == ["Retry"]
    assert _send(platform, FIXED, "A2", ref=ref) == ref
    (message,) = _shown(playground)
    assert "succeeded" in message["text"]
    assert (message["edits"], message["actions"]) == (1, [])


def test_a_notice_stands_in_the_cards_thread(build: Build, playground: Playground) -> None:
    """It notifies those who follow, without a message of its own in the channel."""
    platform = build()
    card = _send(platform)
    reply = _send(platform, REMARK, "A2", parent=card)
    (call,) = [one for one in playground.client.calls(method="chat.postMessage") if one["arguments"].get("thread_ts")]
    assert call["arguments"]["thread_ts"] == card.partition("/")[2]
    assert reply != card


def test_a_deleted_card_is_said_to_be_gone(build: Build) -> None:
    """A message that Slack does not know can only be posted anew."""
    with pytest.raises(DestinationGone) as caught:
        _send(build(), ref=f"{CI.id}/1.000001")
    assert caught.value.reason == "message_not_found"


def test_a_channel_that_is_gone_is_not_remembered(build: Build, playground: Playground) -> None:
    """Whoever archives a channel and makes another in its place need not start the bot anew."""
    platform = build()
    place = _place(platform)
    playground.client.act(platform="slack", channel="#ci", archive=True)
    with pytest.raises(DestinationGone) as caught:
        platform.messenger.send(place, platform.messenger.render(CARD, place), attempt_id="A1")
    assert caught.value.reason == "is_archived"
    with pytest.raises(DestinationGone):
        platform.messenger.resolve("slack:#ci")


def test_a_channel_without_the_bot_is_gone(build: Build) -> None:
    """Somebody has to invite it."""
    platform = build()
    place = _place(platform, "slack:C024RANDOM3")
    with pytest.raises(DestinationGone) as caught:
        platform.messenger.send(place, platform.messenger.render(CARD, place), attempt_id="A1")
    assert caught.value.reason == "not_in_channel"


def test_a_post_in_doubt_is_found(build: Build, playground: Playground) -> None:
    """After a lost answer the history tells; a post that was never made is certainly not there."""
    platform = build()
    place = _place(platform)
    since = datetime.now(UTC)
    playground.client.faults({"platform": "slack", "method": "chat.postMessage", "kind": "lost_answer", "times": 1})
    with pytest.raises(OutcomeUnknown):
        _send(platform)
    (message,) = _shown(playground)
    assert platform.messenger.find(place, attempt_id="A1", since=since) == f"{CI.id}/{message['id']}"
    assert platform.messenger.find(place, attempt_id="A9", since=since) is None


def test_a_reply_in_doubt_is_found_in_an_older_thread(build: Build, playground: Playground) -> None:
    """A build's card is older than the remark about its end."""
    platform = build()
    card = _send(platform)
    for number in range(3):
        _send(platform, CARD, f"other-{number}")
    reply = _send(platform, REMARK, "A2", parent=card)
    since = datetime.now(UTC) + timedelta(seconds=4)
    assert platform.messenger.find(_place(platform), attempt_id="A2", since=since, parent=card) == reply
    assert platform.messenger.find(_place(platform), attempt_id="A3", since=since, parent=card) is None
    assert playground.client.calls(method="conversations.history") == []


def test_a_search_reads_what_was_said_since_and_no_more(build: Build, playground: Playground) -> None:
    """A busy channel's days before cost nothing; a clock may be set by a moment unnoticed."""
    since = datetime.now(UTC)
    assert build().messenger.find(_place(build()), attempt_id="A9", since=since) is None
    (call,) = playground.client.calls(method="conversations.history")
    assert float(call["arguments"]["oldest"]) == pytest.approx(since.timestamp() - CLOCK_SKEW_S, abs=5)


@pytest.mark.parametrize("ahead_s", [3600, -3600, 86400], ids=["ahead", "behind", "by a day"])
@pytest.mark.parametrize("is_new", [False, True], ids=["lasting", "new"])
def test_a_host_whose_clock_is_wrong_finds_its_post(
    build: Build, playground: Playground, ahead_s: int, is_new: bool
) -> None:
    """The time of the search is Slack's, by its answers: the post is found, and no hour of others' words is read."""
    clock = FakeClock(datetime.now(UTC) + timedelta(seconds=ahead_s))
    platform = build(clock)
    since = clock.now()
    ref = _send(platform)
    clock.advance(10)  # more than passed at Slack
    asked = build(clock) if is_new else platform
    assert asked.messenger.find(_place(platform), attempt_id="A1", since=since) == ref
    (call,) = playground.client.calls(method="conversations.history")
    assert float(call["arguments"]["oldest"]) == pytest.approx(time.time() - 10 - CLOCK_SKEW_S, abs=5)


def test_a_clock_that_is_set_back_meanwhile_hides_no_post(build: Build) -> None:
    """What was noted lies in the future then: an hour is read."""
    clock = FakeClock(datetime.now(UTC))
    platform = build(clock)
    since = clock.now()
    ref = _send(platform)
    clock.advance(-1800)
    assert platform.messenger.find(_place(platform), attempt_id="A1", since=since) == ref


def test_answers_without_a_date_leave_the_host_its_clock(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy may take the header away: then the clocks are taken to agree."""
    monkeypatch.setattr(SlackTime, "hear", lambda _self, _headers: None)
    platform = build()
    ref = _send(platform)
    assert platform.messenger.find(_place(platform), attempt_id="A1", since=datetime.now(UTC)) == ref


def test_a_post_is_found_behind_many_pages(build: Build, playground: Playground) -> None:
    """What others wrote since does not hide it; each page but the first is asked for, and not read where that fails."""
    platform, pages = build(), []
    ref = _send(platform)
    for number in range(205):
        _send(platform, REMARK, f"later-{number}")

    def refuse() -> None:
        raise RateLimited("slack", "budget", 9.0)

    place, since = _place(platform), datetime.now(UTC)
    assert platform.messenger.find(place, attempt_id="A1", since=since, more=lambda: pages.append(1)) == ref
    assert (len(pages), len(playground.client.calls(method="conversations.history"))) == (1, 2)
    with pytest.raises(RateLimited):
        platform.messenger.find(place, attempt_id="A1", since=since, more=refuse)
    assert len(playground.client.calls(method="conversations.history")) == 3


def test_history_that_cannot_be_read_leaves_the_doubt(build: Build, playground: Playground) -> None:
    """No answer is not the answer that there is no message."""
    platform = build()
    place = _place(platform)
    playground.client.faults({"platform": "slack", "kind": "status", "status": 503})
    with pytest.raises(Unavailable):
        platform.messenger.find(place, attempt_id="A1", since=datetime.now(UTC))


@pytest.mark.parametrize(
    ("ref", "method", "scope"), [(False, "chat.postMessage", "place"), (True, "chat.update", "account")]
)
def test_a_pause_that_slack_asks_for_is_passed_on(
    build: Build, playground: Playground, ref: bool, method: str, scope: str
) -> None:
    """Posting is limited by channel, everything else by workspace."""
    platform = build()
    known = _send(platform) if ref else None
    playground.client.faults({"platform": "slack", "method": method, "kind": "retry_after", "retry_after": 7})
    with pytest.raises(RateLimited) as caught:
        _send(platform, FIXED, "A2", ref=known)
    assert (caught.value.retry_after_s, caught.value.scope) == (7.0, scope)


@pytest.mark.parametrize("ref", [False, True], ids=["post", "change"])
@pytest.mark.parametrize("kind", ["lost_answer", "status"])
def test_what_got_no_answer_may_have_been_done(build: Build, playground: Playground, ref: bool, kind: str) -> None:
    """A post may stand there; a change may still come, and undo later ones."""
    platform = build()
    known = _send(platform) if ref else None
    playground.client.faults({"platform": "slack", "method": "chat.*", "kind": kind})
    with pytest.raises(OutcomeUnknown):
        _send(platform, FIXED, "A2", ref=known)


@pytest.mark.parametrize("ref", [False, True], ids=["post", "change"])
@pytest.mark.parametrize("body", ['{"ok":true,"chan', "<html>", "[]"], ids=["cut", "page", "list"])
def test_what_is_no_answer_of_slacks_is_not_taken_for_a_refusal(
    build: Build, playground: Playground, body: str, ref: bool
) -> None:
    """An answer that was cut off, or written by something in between, says nothing about the post."""
    platform = build()
    known = _send(platform) if ref else None
    playground.client.faults({"method": "chat.*", "kind": "status", "status": 200, "body": body})
    with pytest.raises(OutcomeUnknown):
        _send(platform, FIXED, "A2", ref=known)


def test_a_pause_is_obeyed_whatever_the_page_around_it(build: Build, playground: Playground) -> None:
    """A 429 of something before Slack has no JSON in it."""
    playground.client.faults({"method": "chat.*", "kind": "status", "status": 429, "body": "<html>"})
    with pytest.raises(RateLimited) as caught:
        _send(build(), FIXED, "A2")
    assert caught.value.retry_after_s == 30.0


def test_the_probe_names_the_workspace(build: Build, playground: Playground) -> None:
    """An operator sees whose token it is, or that it is refused."""
    probe = build().probe
    assert probe is not None
    assert probe() == f"workspace {world.SLACK_TEAM_NAME} ({world.SLACK_TEAM}), bot shipmate: token accepted"
    playground.client.options(slack_token_revoked=True)
    with pytest.raises(AuthFailed):
        probe()
