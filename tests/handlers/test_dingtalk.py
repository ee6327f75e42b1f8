"""What a callback of DingTalk becomes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bot.domain.commands import Actor, ReplyTo
from bot.errors import StorageUnavailable
from handlers.dingtalk import BAD_REQUEST, FAILED, OK, TOPIC_CARD, TOPIC_ROBOT, Door, clean

CLIENT = "dingplayground"
SESSION = "https://oapi.dingtalk.com/robot/sendBySession?session=0123456789"
MESSAGE: dict[str, Any] = {
    "conversationId": "cid1==",
    "conversationType": "2",
    "msgId": "msg1",
    "msgtype": "text",
    "text": {"content": " 重试 user-service＃1"},
    "senderId": "$:LWCP_v1:$sender",
    "senderNick": "张敏",
    "senderStaffId": "manager4220",
    "senderCorpId": "ding1",
    "chatbotCorpId": "ding1",
    "chatbotUserId": "$:LWCP_v1:$bot",
    "sessionWebhook": SESSION,
    "sessionWebhookExpiredTime": 1795240056109,
}
PRIVATE = {"cardPrivateData": {"actionIds": ["retry"], "params": {"command": "retry buildbot/user-service#1@1"}}}
PRESS: dict[str, Any] = {
    "corpId": "ding1",
    "userId": "manager4220",
    "outTrackId": "ship-A1",
    "type": "actionCallback",
    "spaceType": "IM_GROUP",
    "spaceId": "cid1==",
    "extension": "{}",
    "content": json.dumps(PRIVATE),
}


class FakeInbox:
    """Keeps what it is given; `problem` is raised instead."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.problem = problem
        self.accepted: dict[str, dict[str, Any]] = {}

    def accept(self, *, typed: str, dedup_key: str, actor: Actor, reply_to: ReplyTo, via: str) -> bool:
        """Store once by key."""
        if self.problem is not None:
            raise self.problem
        is_new = dedup_key not in self.accepted
        if is_new:
            self.accepted[dedup_key] = {"typed": typed, "actor": actor, "reply_to": reply_to, "via": via}
        return is_new

    @property
    def only(self) -> dict[str, Any]:
        """The one command that was stored."""
        (one,) = self.accepted.values()
        return one


@pytest.fixture
def inbox() -> FakeInbox:
    """An empty inbox."""
    return FakeInbox()


@pytest.fixture
def door(inbox: FakeInbox) -> Door:
    """The door that fills it."""
    return Door(CLIENT, inbox, corp_id="ding1")


def test_a_message_becomes_a_command(door: Door, inbox: FakeInbox) -> None:
    """Who, what, where to answer, and until when."""
    assert door.take(TOPIC_ROBOT, "frame1", MESSAGE) == OK
    assert inbox.accepted == {
        "dingtalk:msg1": {
            "typed": "重试 user-service#1",
            "actor": Actor("dingtalk:manager4220", "张敏", team="ding1"),
            "reply_to": ReplyTo(
                "dingtalk", "dingtalk:dingplayground/cid1==", url=SESSION, url_expires_at=1795240056.109
            ),
            "via": "typed",
        }
    }


def test_a_message_in_private_is_answered_in_private(door: Door, inbox: FakeInbox) -> None:
    """One-to-one conversations are addressed by the person."""
    door.take(TOPIC_ROBOT, "frame1", MESSAGE | {"conversationType": "1"})
    assert inbox.only["reply_to"].place == "dingtalk:dingplayground/user:manager4220"


def test_a_press_becomes_the_command_of_its_button(door: Door, inbox: FakeInbox) -> None:
    """A press is the same as typing what the button stands for."""
    assert door.take(TOPIC_CARD, "frame1", PRESS) == OK
    assert inbox.accepted == {
        "dingtalk:frame1:ship-A1:manager4220:retry": {
            "typed": "retry buildbot/user-service#1@1",
            "actor": Actor("dingtalk:manager4220", "manager4220", team="ding1"),
            "reply_to": ReplyTo("dingtalk", "dingtalk:dingplayground/cid1=="),
            "via": "press",
        }
    }


@pytest.mark.parametrize(
    "space", [{"spaceType": "IM_ROBOT", "spaceId": "manager4220"}, {"spaceType": "", "spaceId": ""}]
)
def test_a_press_outside_a_group_is_answered_to_the_person(door: Door, inbox: FakeInbox, space: dict[str, str]) -> None:
    """Where no group is named, the person is the place."""
    door.take(TOPIC_CARD, "frame1", PRESS | space)
    assert inbox.only["reply_to"].place == "dingtalk:dingplayground/user:manager4220"


@pytest.mark.parametrize(("topic", "said"), [(TOPIC_ROBOT, MESSAGE), (TOPIC_CARD, PRESS)])
def test_a_repeated_callback_is_acknowledged_and_stored_once(
    door: Door, inbox: FakeInbox, topic: str, said: dict[str, Any]
) -> None:
    """DingTalk sends again what it thinks was not heard."""
    assert [door.take(topic, "frame1", said) for _ in range(3)] == [OK, OK, OK]
    assert len(inbox.accepted) == 1


def test_two_peoples_presses_are_two_commands(door: Door, inbox: FakeInbox) -> None:
    """That they act once is decided where they are executed."""
    door.take(TOPIC_CARD, "frame1", PRESS)
    door.take(TOPIC_CARD, "frame2", PRESS | {"userId": "lilei0017"})
    assert len(inbox.accepted) == 2


@pytest.mark.parametrize(
    "stranger",
    [{"senderStaffId": ""}, {"senderStaffId": None}, {"senderCorpId": "ding2"}],
)
def test_strangers_are_outsiders(door: Door, inbox: FakeInbox, stranger: dict[str, object]) -> None:
    """People without a staff id, or of another organisation, have no roles."""
    door.take(TOPIC_ROBOT, "frame1", MESSAGE | stranger)
    assert inbox.only["actor"].is_outsider


def test_a_strangers_press_is_an_outsiders(inbox: FakeInbox) -> None:
    """An id of another organisation may look like one of ours."""
    configured = Door(CLIENT, inbox, corp_id="ding1")
    configured.take(TOPIC_CARD, "frame1", PRESS | {"corpId": "ding2"})
    assert inbox.only["actor"].is_outsider


@pytest.mark.parametrize("corp", ["ding1", "ding2", ""])
def test_until_the_own_organisation_is_known_a_press_is_an_outsiders(inbox: FakeInbox, corp: str) -> None:
    """A card that was forwarded to another organisation has no power there."""
    Door(CLIENT, inbox).take(TOPIC_CARD, "frame1", PRESS | {"corpId": corp})
    assert inbox.only["actor"].is_outsider


def test_the_own_organisation_is_learned(inbox: FakeInbox) -> None:
    """The first message tells whose robot it is."""
    door = Door(CLIENT, inbox)
    door.take(TOPIC_ROBOT, "frame1", MESSAGE)
    door.take(TOPIC_CARD, "frame2", PRESS | {"corpId": "ding2"})
    door.take(TOPIC_CARD, "frame3", PRESS)
    assert [one["actor"].is_outsider for one in inbox.accepted.values()] == [False, True, False]


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        (" 状态", "状态"),
        ("@Shipmate 状态", "状态"),
        ("@Shipmate\u2005状态\u00a0", "状态"),
        ("ｓｔａｔｕｓ　ｕｓｅｒ－ｓｅｒｖｉｃｅ", "status user-service"),
        ("retry buildbot/user-service#1@2 @Shipmate", "retry buildbot/user-service#1@2"),
        ("\u200b  retry \n user-service#1", "retry user-service#1"),
        ("@Shipmate", ""),
        ("", ""),
        ("x" * 10_000, "x" * 501),
    ],
)
def test_what_is_typed_is_cleaned(typed: str, wanted: str) -> None:
    """Mentions, blanks and full-width letters go; a build's attempt stays."""
    assert clean(typed) == wanted


def test_rich_text_is_read(door: Door, inbox: FakeInbox) -> None:
    """A text with a picture in it still holds words."""
    said = {"msgtype": "richText", "content": {"richText": [{"text": "状态"}, {"downloadCode": "x"}, {"text": "api"}]}}
    door.take(TOPIC_ROBOT, "frame1", MESSAGE | said)
    assert inbox.only["typed"] == "状态 api"


@pytest.mark.parametrize(
    ("topic", "said"),
    [
        (TOPIC_ROBOT, MESSAGE | {"msgtype": "picture", "content": {"downloadCode": "x"}}),
        (TOPIC_ROBOT, {name: it for name, it in MESSAGE.items() if name != "text"} | {"errMsg": "服务已经暂停"}),
        (TOPIC_ROBOT, MESSAGE | {"senderId": "$:LWCP_v1:$bot"}),
        (TOPIC_CARD, PRESS | {"content": "{}"}),
        (TOPIC_CARD, PRESS | {"content": json.dumps({"cardPrivateData": {"params": {"command": 7}}})}),
    ],
)
def test_what_is_no_command_is_acknowledged_and_dropped(
    door: Door, inbox: FakeInbox, topic: str, said: dict[str, Any]
) -> None:
    """Pictures, the robot's own words, withheld ones and buttons of other templates are not sent again."""
    assert door.take(topic, "frame1", said) == OK
    assert not inbox.accepted


@pytest.mark.parametrize(
    ("topic", "said"),
    [
        (TOPIC_ROBOT, {}),
        (TOPIC_ROBOT, MESSAGE | {"msgId": None}),
        (TOPIC_ROBOT, MESSAGE | {"conversationId": 7}),
        (TOPIC_CARD, {}),
        (TOPIC_CARD, PRESS | {"userId": ""}),
        (TOPIC_CARD, PRESS | {"content": "{not json"}),
        ("/v1.0/other", MESSAGE),
    ],
)
def test_nonsense_is_refused_and_harms_nothing(door: Door, inbox: FakeInbox, topic: str, said: dict[str, Any]) -> None:
    """A callback that makes no sense would make none the next time either."""
    assert door.take(topic, "frame1", said) in (BAD_REQUEST, OK)
    assert not inbox.accepted


@pytest.mark.parametrize("problem", [StorageUnavailable("full disk"), RuntimeError("a bug")])
def test_what_was_not_stored_is_not_acknowledged(problem: Exception) -> None:
    """DingTalk then sends it again."""
    assert Door(CLIENT, FakeInbox(problem)).take(TOPIC_ROBOT, "frame1", MESSAGE) == FAILED


@pytest.mark.parametrize("expires", [None, "soon", [], True])
def test_a_strange_expiry_is_no_reason_to_drop_a_command(door: Door, inbox: FakeInbox, expires: object) -> None:
    """The command counts; its session is then used only as long as DingTalk takes it."""
    assert door.take(TOPIC_ROBOT, "frame1", MESSAGE | {"sessionWebhookExpiredTime": expires}) == OK
    assert inbox.only["typed"] == "重试 user-service#1"


@pytest.mark.parametrize("half", ["\ud83d", "\x00"])
def test_half_a_sign_is_replaced_in_words_and_refused_in_ids(inbox: FakeInbox, door: Door, half: str) -> None:
    """A name that was cut in the middle of an emoji loses nobody their command; an id that is not one is refused."""
    assert door.take(TOPIC_ROBOT, "f1", MESSAGE | {"senderNick": half, "text": {"content": f"状态 {half}x"}}) == OK
    assert (inbox.only["typed"], inbox.only["actor"].name) == ("状态 \ufffdx", "\ufffd")
    assert door.take(TOPIC_ROBOT, "f2", MESSAGE | {"conversationId": half, "msgId": "m2"}) == BAD_REQUEST
    params = {"cardPrivateData": {"actionIds": [half], "params": {"command": "status"}}}
    assert door.take(TOPIC_CARD, "f3", PRESS | {"content": json.dumps(params)}) == BAD_REQUEST
