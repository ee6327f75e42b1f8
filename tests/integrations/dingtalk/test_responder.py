"""Answers to people, and who they are."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import requests

from bot.domain.cards import Card, Tone
from bot.domain.commands import Actor, ReplyTo
from bot.errors import AuthFailed, DestinationGone, IntegrationError, OutcomeUnknown, RateLimited, Rejected, Unavailable
from bot.ports import PersonFacts
from integrations.dingtalk.api import App
from integrations.dingtalk.client import DingTalkDirectory
from integrations.spec import Platform
from playground import world
from playground.options import Json
from playground.server import Playground

Build = Callable[..., Platform]
GROUP = world.DINGTALK_GROUPS[0].name
PLACE = f"dingtalk:{world.DINGTALK_CLIENT_ID}/{world.DINGTALK_GROUP}"
ACTOR = Actor("dingtalk:manager4220", "张敏", team=world.DINGTALK_CORP)
ANSWER = Card(Tone.NEUTRAL, "没有正在运行的构建", locale="zh-CN")
SESSION = "robot/sendBySession"
GROUP_SEND = "POST /v1.0/robot/groupMessages/send"
DIRECT_SEND = "POST /v1.0/robot/oToMessages/batchSend"


@pytest.fixture
def session_url(playground: Playground) -> str:
    """The address that comes with what a person says; nobody listens here, so it is read from the journal."""
    playground.client.act(platform="dingtalk", channel=GROUP, as_="张敏", say="@Shipmate 状态")
    payload = playground.client.deliveries(platform="dingtalk")[-1]["payload"]
    return str(payload["sessionWebhook"])


def _methods(playground: Playground) -> list[str]:
    return [call["method"] for call in playground.client.calls(platform="dingtalk") if "oauth2" not in call["method"]]


def _last(playground: Playground) -> Json:
    return playground.client.messages("dingtalk", GROUP)[-1]


def test_an_answer_goes_to_the_session_and_mentions_the_asker(
    build: Build, playground: Playground, session_url: str
) -> None:
    """While the session lives it is used: it costs no call of the app and can mention people."""
    reply_to = ReplyTo("dingtalk", PLACE, url=session_url, url_expires_at=time.time() + 600)
    build().responder.respond(reply_to, ANSWER, ACTOR)
    assert _methods(playground) == [SESSION]
    assert playground.client.calls(method=SESSION)[0]["arguments"]["at"]["atUserIds"] == ["manager4220"]
    assert "@张敏" in _last(playground)["text"]
    assert "没有正在运行的构建" in _last(playground)["text"]


def test_an_ended_session_is_not_tried(build: Build, playground: Playground, session_url: str) -> None:
    """After its time the robot's API is used at once; it names the asker."""
    reply_to = ReplyTo("dingtalk", PLACE, url=session_url, url_expires_at=time.time() + 5)
    build().responder.respond(reply_to, ANSWER, ACTOR)
    assert _methods(playground) == [GROUP_SEND]
    assert _last(playground)["text"].startswith("@张敏")


def test_a_refused_session_is_replaced_by_the_api(build: Build, playground: Playground) -> None:
    """A session that DingTalk does not know any more costs nobody their answer."""
    url = f"{playground.url}/dingtalk/oapi/robot/sendBySession?session=ended"
    build().responder.respond(ReplyTo("dingtalk", PLACE, url=url), ANSWER, ACTOR)
    assert _methods(playground) == [SESSION, GROUP_SEND]


@pytest.mark.parametrize("errcode", [130101, 410100, 90018])
def test_a_throttled_session_is_replaced_by_the_api(
    build: Build, playground: Playground, session_url: str, errcode: int
) -> None:
    """A group in which much is said gets its answers all the same."""
    fault = {"status": 200, "body": {"errcode": errcode, "errmsg": "send too fast"}}
    playground.client.faults({"platform": "dingtalk", "method": SESSION, "kind": "status", **fault})
    build().responder.respond(ReplyTo("dingtalk", PLACE, url=session_url), ANSWER, ACTOR)
    assert _methods(playground) == [SESSION, GROUP_SEND]


def test_a_session_in_doubt_is_not_answered_twice(build: Build, playground: Playground, session_url: str) -> None:
    """A lost answer may have been shown; the worker decides whether to try again."""
    playground.client.faults({"platform": "dingtalk", "method": SESSION, "kind": "lost_answer"})
    with pytest.raises(OutcomeUnknown):
        build().responder.respond(ReplyTo("dingtalk", PLACE, url=session_url), ANSWER, ACTOR)
    assert _methods(playground) == [SESSION]


def test_an_answer_in_private_goes_to_the_person(build: Build, playground: Playground) -> None:
    """One-to-one there is nobody to mention."""
    reply_to = ReplyTo("dingtalk", f"dingtalk:{world.DINGTALK_CLIENT_ID}/user:manager4220")
    build().responder.respond(reply_to, ANSWER, ACTOR)
    (call,) = playground.client.calls(method=DIRECT_SEND)
    assert call["arguments"]["userIds"] == ["manager4220"]
    assert "@" not in call["arguments"]["msgParam"]


def test_what_is_whispered_goes_to_the_person(build: Build, playground: Playground, session_url: str) -> None:
    """Also where it was asked for in a group whose session lives; without an app it is not said at all."""
    reply_to = ReplyTo("dingtalk", PLACE, url=session_url, url_expires_at=time.time() + 600)
    build().responder.whisper(reply_to, ANSWER, ACTOR)
    assert _methods(playground) == [DIRECT_SEND]
    (call,) = playground.client.calls(method=DIRECT_SEND)
    assert call["arguments"]["userIds"] == ["manager4220"]


def test_an_unknown_person_is_gone(build: Build) -> None:
    """The list of invalid people in a successful answer counts."""
    reply_to = ReplyTo("dingtalk", f"dingtalk:{world.DINGTALK_CLIENT_ID}/user:nobody")
    with pytest.raises(DestinationGone) as caught:
        build().responder.respond(reply_to, ANSWER, ACTOR)
    assert caught.value.reason == "person_not_found"


def test_a_person_whom_dingtalk_leaves_out_has_no_answer(build: Build, playground: Playground) -> None:
    """An answer that was taken and is not shown was not given."""
    body = {"processQueryKey": "k", "invalidStaffIdList": [], "filteredStaffIdList": ["manager4220"]}
    playground.client.faults(
        {"platform": "dingtalk", "method": DIRECT_SEND, "kind": "status", "status": 200, "body": body}
    )
    reply_to = ReplyTo("dingtalk", f"dingtalk:{world.DINGTALK_CLIENT_ID}/user:manager4220")
    with pytest.raises(DestinationGone, match="person_not_found"):
        build().responder.respond(reply_to, ANSWER, ACTOR)


def test_a_flow_controlled_person_is_tried_later(build: Build, playground: Playground) -> None:
    """So does the list of those who get too much."""
    body = {"processQueryKey": "k", "flowControlledStaffIdList": ["manager4220"]}
    playground.client.faults(
        {"platform": "dingtalk", "method": DIRECT_SEND, "kind": "status", "status": 200, "body": body}
    )
    reply_to = ReplyTo("dingtalk", f"dingtalk:{world.DINGTALK_CLIENT_ID}/user:manager4220")
    with pytest.raises(Unavailable):
        build().responder.respond(reply_to, ANSWER, ACTOR)


def test_an_answer_without_app_or_session_says_so(build: Build, destinations: dict[str, object]) -> None:
    """With custom robots alone there is nothing to answer with."""
    del destinations["dev"], destinations["elsewhere"]
    platform = build(client_id=None, client_secret=None, card_template_id=None)
    with pytest.raises(DestinationGone) as caught:
        platform.responder.respond(ReplyTo("dingtalk", PLACE), ANSWER, ACTOR)
    assert caught.value.reason == "not_configured"
    with pytest.raises(DestinationGone):
        platform.responder.whisper(ReplyTo("dingtalk", PLACE), ANSWER, ACTOR)


class FakeApp(App):
    """An app whose address book answers what it is told to."""

    def __init__(self, answer: Json | IntegrationError) -> None:
        super().__init__(requests.Session(), "ding1", "s", api_url="http://127.0.0.1:9", oapi_url="http://127.0.0.1:9")
        self.answer = answer

    def ask_old(self, path: str, body: object) -> Json:
        """The prepared answer."""
        assert (path, body) == ("/topapi/v2/user/get", {"userid": "manager4220"})
        if isinstance(self.answer, IntegrationError):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "facts"),
    [
        (
            {"errcode": 0, "result": {"name": "张敏", "email": "me@evil.example", "org_email": "zhang@example.com"}},
            PersonFacts("张敏", "zhang@example.com", is_outsider=False),
        ),
        ({"errcode": 0, "result": {"name": "张敏", "email": "x"}}, PersonFacts("张敏", None, is_outsider=False)),
        (  # cut amid an emoji, as no database stores it
            {"errcode": 0, "result": {"name": "张敏\ud83d", "org_email": "zhang\0@example.com"}},
            PersonFacts("张敏 ", "zhang @example.com", is_outsider=False),
        ),
        (AuthFailed("dingtalk", "no_permission"), PersonFacts("", None, is_outsider=False)),
        (Rejected("dingtalk", "refused"), PersonFacts("", None, is_outsider=False)),
        (DestinationGone("dingtalk", "person_not_found"), PersonFacts("", None, is_outsider=True)),
    ],
)
def test_people_are_known_as_far_as_the_address_book_is_open(
    answer: Json | IntegrationError, facts: PersonFacts
) -> None:
    """An address that people set themselves gives nobody a role."""
    assert DingTalkDirectory(FakeApp(answer)).look_up("manager4220") == facts


def test_people_are_looked_up_in_the_address_book(build: Build) -> None:
    """The old API's call, token and answer work against a platform that checks them; strangers are outsiders."""
    directory = build().directory
    assert directory is not None
    assert directory.look_up("lilei0017") == PersonFacts("李雷", None, is_outsider=False)
    assert directory.look_up("nobody").is_outsider


def test_an_address_book_that_is_busy_is_asked_again() -> None:
    """A passing failure is no answer."""
    with pytest.raises(RateLimited):
        DingTalkDirectory(FakeApp(RateLimited("dingtalk", "throttled", 1.0))).look_up("manager4220")


def test_an_answer_that_cannot_mention_names_no_bare_id(build: Build, playground: Playground) -> None:
    """Whose name nobody knows is not called by a number that says nothing to the group."""
    build().responder.respond(ReplyTo("dingtalk", PLACE), ANSWER, Actor("dingtalk:manager4220", "manager4220"))
    assert "manager4220" not in _last(playground)["text"]
