"""Answers to people, the windows they open, and who they are."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import requests
from slack_sdk.web import WebClient

from bot.domain.cards import Card, Question, Tone, text
from bot.domain.cards import Paragraph as Passage
from bot.domain.commands import Actor, ReplyTo
from bot.errors import DestinationGone, OutcomeUnknown
from bot.system import SystemClock
from handlers.slack_payloads import Own, Translator
from integrations.slack.client import Workspace
from integrations.slack.people import FACTS_FRESH_S, SlackDirectory
from integrations.slack.web import KeepAliveWebClient
from integrations.spec import Platform
from playground import world
from playground.options import Json
from playground.server import Playground

Build = Callable[..., Platform]
ALICE = Actor("slack:U024ALICE01", "Alice", team=world.SLACK_TEAM)
PLACE = f"slack:{world.SLACK_TEAM}/C024CI00001"
DIRECT = f"slack:{world.SLACK_TEAM}/D024ALICE01"
ANSWER = Card(Tone.NEUTRAL, "Nothing is running", sections=(Passage(text("2 builds today")),))
ANSWERS = ("response_url", "chat.postEphemeral", "chat.postMessage", "conversations.open")


@pytest.fixture
def asked(playground: Playground) -> Json:
    """What Slack sends for a typed command; nobody listens here, so it is read from the journal."""
    playground.client.act(platform="slack", channel="#ci", as_="alice", say="/ship status")
    payload: Json = playground.client.deliveries(platform="slack")[-1]["payload"]
    return payload


def _methods(playground: Playground) -> list[str]:
    return [call["method"] for call in playground.client.calls(platform="slack") if call["method"] in ANSWERS]


def _last_arguments(playground: Playground) -> Json:
    arguments: Json = playground.client.calls(platform="slack")[-1]["arguments"]
    return arguments


def test_an_answer_goes_to_the_response_url(build: Build, playground: Playground, asked: Json) -> None:
    """Only the asker sees it, and what was pressed stays."""
    url = asked["response_url"]
    build().responder.respond(ReplyTo("slack", PLACE, url=url, url_expires_at=time.time() + 600), ANSWER, ALICE)
    assert _methods(playground) == ["response_url"]
    sent = _last_arguments(playground)
    assert (sent["response_type"], sent["replace_original"]) == ("ephemeral", False)
    assert "Nothing is running" in playground.client.state()["platforms"]["slack"]["ephemeral"][-1]["text"]


def test_an_answer_for_everybody_is_posted_through_the_url(build: Build, playground: Playground, asked: Json) -> None:
    """What changed something is said in the channel."""
    reply_to = ReplyTo("slack", PLACE, url=asked["response_url"], is_private=False)
    build().responder.respond(reply_to, ANSWER, ALICE)
    assert _last_arguments(playground)["response_type"] == "in_channel"
    assert "Nothing is running" in playground.client.messages("slack", "#ci")[-1]["text"]


@pytest.mark.parametrize("lifetime_s", [-5.0, 5.0])
def test_a_url_that_ends_is_not_tried(build: Build, playground: Playground, asked: Json, lifetime_s: float) -> None:
    """After its half hour the Web API answers, to the same person."""
    url, ends = asked["response_url"], time.time() + lifetime_s
    reply_to = ReplyTo("slack", PLACE, url=url, url_expires_at=ends)
    build().responder.respond(reply_to, ANSWER, ALICE)
    assert _methods(playground) == ["chat.postEphemeral"]
    assert _last_arguments(playground)["user"] == "U024ALICE01"


def test_a_refused_url_is_replaced_by_the_api(build: Build, playground: Playground) -> None:
    """A URL that Slack does not know any more costs nobody their answer."""
    url = f"{playground.url}/slack/actions/{world.SLACK_TEAM}/1/gone"
    build().responder.respond(ReplyTo("slack", PLACE, url=url), ANSWER, ALICE)
    assert _methods(playground) == ["response_url", "chat.postEphemeral"]


@pytest.mark.parametrize("body", ["<html>", '{"ok":tr'], ids=["page", "cut"])
def test_a_url_that_does_not_lead_to_slack_is_replaced_by_the_api(
    build: Build, playground: Playground, asked: Json, body: str
) -> None:
    """A page of something in between, with status 200, is not taken for an answer that was given."""
    playground.client.faults({"method": "response_url", "kind": "status", "status": 200, "body": body})
    build().responder.respond(ReplyTo("slack", PLACE, url=asked["response_url"]), ANSWER, ALICE)
    assert _methods(playground) == ["response_url", "chat.postEphemeral"]


def test_a_url_in_doubt_is_not_answered_twice(build: Build, playground: Playground, asked: Json) -> None:
    """A lost answer may have been shown; the worker decides whether to try again."""
    playground.client.faults({"platform": "slack", "method": "response_url", "kind": "lost_answer"})
    with pytest.raises(OutcomeUnknown):
        build().responder.respond(ReplyTo("slack", PLACE, url=asked["response_url"]), ANSWER, ALICE)
    assert _methods(playground) == ["response_url"]


def test_a_private_answer_in_a_thread_stays_there(build: Build, playground: Playground) -> None:
    """A mention in a thread is answered in the thread."""
    platform = build()
    place = platform.messenger.resolve("slack:#ci")
    ref = platform.messenger.send(place, platform.messenger.render(ANSWER, place), attempt_id="A1")
    thread = ref.partition("/")[2]
    platform.responder.respond(ReplyTo("slack", PLACE, thread=thread), ANSWER, ALICE)
    assert _last_arguments(playground)["thread_ts"] == thread


def test_what_is_whispered_is_seen_by_the_asker_alone(build: Build, playground: Playground, asked: Json) -> None:
    """Over the URL and without it, also where an answer would be for everybody."""
    reply_to = ReplyTo("slack", PLACE, url=asked["response_url"], is_private=False)
    build().responder.whisper(reply_to, ANSWER, ALICE)
    assert _last_arguments(playground)["response_type"] == "ephemeral"
    build().responder.whisper(ReplyTo("slack", PLACE, is_private=False), ANSWER, ALICE)
    assert _methods(playground) == ["response_url", "chat.postEphemeral"]


@pytest.mark.parametrize(("place", "is_private"), [(DIRECT, True), (PLACE, False)])
def test_other_answers_are_messages(build: Build, playground: Playground, place: str, is_private: bool) -> None:
    """In a direct conversation everything is private anyway."""
    platform = build()
    platform.messenger.resolve("slack:U024ALICE01")
    platform.responder.respond(ReplyTo("slack", place, is_private=is_private), ANSWER, ALICE)
    assert _methods(playground)[-1] == "chat.postMessage"
    assert _last_arguments(playground)["channel"] == place.partition("/")[2]


def test_where_the_bot_is_not_the_answer_comes_directly(build: Build, playground: Playground) -> None:
    """A command can be typed in channels that the bot was not invited to."""
    place = f"slack:{world.SLACK_TEAM}/C024RANDOM3"
    build().responder.respond(ReplyTo("slack", place), ANSWER, ALICE)
    assert _methods(playground) == ["chat.postEphemeral", "conversations.open", "chat.postMessage"]
    assert "Nothing is running" in playground.client.messages("slack", "@alice")[-1]["text"]


def test_where_the_bot_may_not_post_the_answer_comes_directly(build: Build, playground: Playground) -> None:
    """Who may write in a channel that is closed to others hears the answer all the same."""
    refusal = {"ok": False, "error": "restricted_action"}
    playground.client.faults(
        {"platform": "slack", "method": "chat.postEphemeral", "kind": "status", "status": 200, "body": refusal}
    )
    build().responder.respond(ReplyTo("slack", PLACE), ANSWER, ALICE)
    assert _methods(playground) == ["chat.postEphemeral", "conversations.open", "chat.postMessage"]
    assert "Nothing is running" in playground.client.messages("slack", "@alice")[-1]["text"]


def test_between_two_people_the_answer_comes_directly(build: Build, playground: Playground) -> None:
    """A command can be typed in the conversation of two people, which the bot is not in, once its URL is over."""
    place = f"slack:{world.SLACK_TEAM}/D024OTHERS9"
    reply_to = ReplyTo("slack", place, url=f"{playground.url}/slack/actions/over", url_expires_at=time.time() - 5)
    build().responder.respond(reply_to, ANSWER, ALICE)
    assert _methods(playground) == ["chat.postMessage", "conversations.open", "chat.postMessage"]
    assert "Nothing is running" in playground.client.messages("slack", "@alice")[-1]["text"]


def test_what_concerns_a_person_alone_comes_directly(build: Build, playground: Playground) -> None:
    """Words that no place was asked for are said in the person's own conversation with the bot."""
    build().responder.whisper(ReplyTo("slack", ""), ANSWER, ALICE)
    assert _methods(playground) == ["conversations.open", "chat.postMessage"]
    assert "Nothing is running" in playground.client.messages("slack", "@alice")[-1]["text"]


@pytest.mark.parametrize(
    ("account", "name", "email", "is_outsider"),
    [
        ("U024ALICE01", "Alice", "alice@example.com", False),
        ("U024GUEST04", "Gita (guest)", "gita@contractor.example", True),
        ("U0PARTNER05", "Sam (Partner Inc)", None, True),
        ("U024OTHERBT", "Deploybot", None, True),
        ("U0NOBODY000", "U0NOBODY000", None, True),
    ],
)
def test_people_are_known(build: Build, account: str, name: str, email: str | None, is_outsider: bool) -> None:
    """Guests, strangers, bots and unknown people get no roles, whatever address they have."""
    directory = build().directory
    assert directory is not None
    facts = directory.look_up(account)
    assert (facts.name, facts.email, facts.is_outsider) == (name, email, is_outsider)


def test_a_name_that_no_database_stores_is_made_storable(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose name is cut amid an emoji may command all the same, and who asks them to approve is not kept from it."""
    directory = build().directory
    assert isinstance(directory, SlackDirectory)
    profile = {"real_name": "Ann \ud83d", "email": "ann\0@example.com"}
    answer = SimpleNamespace(data={"ok": True, "user": {"team_id": world.SLACK_TEAM, "profile": profile}})
    monkeypatch.setattr(directory._web, "users_info", lambda **_: answer)
    facts = directory.look_up("U024ANN0009")
    assert (facts.name, facts.email, facts.is_outsider) == ("Ann  ", "ann @example.com", False)


def test_facts_are_believed_for_five_minutes(playground: Playground, session: requests.Session) -> None:
    """A press costs no call each, and somebody who left is known to have within minutes."""
    web: WebClient = KeepAliveWebClient(session, world.SLACK_BOT_TOKEN, f"{playground.url}/slack/api/")
    now = 0.0
    directory = SlackDirectory(web, Workspace(web), now_s=lambda: now)
    for moment in (0.0, FACTS_FRESH_S - 1, FACTS_FRESH_S + 1):
        now = moment
        assert directory.look_up("U024ALICE01").name == "Alice"
    assert len(playground.client.calls(method="users.info")) == 2


def test_a_window_is_opened_and_changed(build: Build, playground: Playground, asked: Json) -> None:
    """A press opens it at once; its content comes when it is known."""
    modals = build().modals
    assert modals is not None
    view_id = modals.open(asked["trigger_id"], ANSWER)
    modals.update(view_id, Card(Tone.SUCCESS, "Log", subject="build:b/a#1"))
    view = playground.client.calls(method="views.update")[-1]["arguments"]
    assert view["view_id"] == view_id
    with pytest.raises(DestinationGone) as caught:
        modals.open(asked["trigger_id"], ANSWER)
    assert caught.value.reason == "exchanged_trigger"


def test_a_question_is_asked_in_a_window_and_its_answer_knows_where_it_belongs(
    build: Build, playground: Playground, asked: Json
) -> None:
    """The real protocol: what is written comes back with the command and the place that it is for."""
    modals = build().modals
    assert modals is not None
    question = Question("Reject", "Why?", "Reject", "Never mind", "reject user-service#12", 300)
    modals.ask(asked["trigger_id"], question, ReplyTo("slack", "slack:T1/C1", thread="1.1"))
    (window,) = playground.client.state(platform="slack")["platforms"]["slack"]["modals"]
    playground.client.act(platform="slack", as_="alice", submit={"view": window, "values": {"words": "not <@today>"}})
    sent = playground.client.deliveries(platform="slack")[-1]["payload"]
    heard = Translator(Own(world.SLACK_TEAM), SystemClock()).of_submission(sent)
    assert heard is not None
    assert (heard.typed, heard.actor.account) == ("reject user-service#12 not <@today>", ALICE.account)
    assert heard.reply_to == ReplyTo("slack", "slack:T1/C1", thread="1.1")


def test_a_trigger_that_expired_is_said_to_have(build: Build, playground: Playground) -> None:
    """The caller then answers with a message."""
    playground.client.options(slack_trigger_s=0.0)
    playground.client.act(platform="slack", channel="#ci", as_="alice", say="/ship status")
    trigger = playground.client.deliveries(platform="slack")[-1]["payload"]["trigger_id"]
    modals = build().modals
    assert modals is not None
    with pytest.raises(DestinationGone) as caught:
        modals.open(trigger, ANSWER)
    assert caught.value.reason == "expired_trigger"
