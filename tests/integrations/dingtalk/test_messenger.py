"""Posting and changing cards at the playground."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from bot.domain.budgets import Budget
from bot.domain.cards import Action, Card, Notice, Person, Plain, Tone
from bot.domain.places import Operation, Place
from bot.errors import AuthFailed, DestinationGone, OutcomeUnknown, RateLimited, Rejected, Unavailable
from integrations.spec import Platform
from playground import world
from playground.options import Json
from playground.server import Playground

Build = Callable[..., Platform]
SINCE = datetime(2026, 11, 21, tzinfo=UTC)
GROUP = world.DINGTALK_GROUPS[0].name
OPS = world.DINGTALK_GROUPS[1].name
CREATE = "POST /v1.0/card/instances/createAndDeliver"
CARD = Card(
    Tone.FAILURE,
    "user-service #1 · 失败",
    emoji="❌",
    actions=(Action("retry", "重试", "retry buildbot/user-service#1@1"),),
    locale="zh-CN",
)
FIXED = Card(Tone.SUCCESS, "user-service #1 · 成功", emoji="✅", locale="zh-CN")


def _shown(playground: Playground, group: str = GROUP) -> list[Json]:
    return playground.client.messages("dingtalk", group)


def _place(platform: Platform, address: str = f"dingtalk:group:{world.DINGTALK_GROUP}") -> Place:
    return platform.messenger.resolve(address)


def _send(
    platform: Platform, place: Place, card: Card | Notice = CARD, attempt: str = "A1", ref: str | None = None
) -> str:
    rendered = platform.messenger.render(card, place)
    return platform.messenger.send(place, rendered, attempt_id=attempt, ref=ref)


def test_a_card_is_posted_and_changed_in_place(build: Build, playground: Playground) -> None:
    """One card goes from failed to succeeded, and its button goes."""
    platform = build()
    place = _place(platform)
    ref = _send(platform, place)
    assert [action["label"] for action in _shown(playground)[0]["actions"]] == ["重试"]
    assert _send(platform, place, FIXED, "A2", ref) == ref
    (message,) = _shown(playground)
    assert message["text"].startswith("✅ user-service #1 · 成功")
    assert (message["edits"], message["actions"]) == (1, [])


def test_a_press_carries_its_command(build: Build, playground: Playground) -> None:
    """The shipped template sends the action's id and its command back."""
    platform = build()
    _send(platform, _place(platform))
    (action,) = _shown(playground)[0]["actions"]
    assert (action["id"], action["params"]) == ("retry", {"command": "retry buildbot/user-service#1@1"})


def test_a_card_in_doubt_is_found(build: Build, playground: Playground) -> None:
    """After a lost answer the platform tells whether the card exists; asking changes nothing on it."""
    platform = build()
    place = _place(platform)
    assert platform.messenger.find(place, attempt_id="A1", since=SINCE) is None
    playground.client.faults({"platform": "dingtalk", "method": CREATE, "kind": "lost_answer", "times": 1})
    with pytest.raises(OutcomeUnknown):
        _send(platform, place)
    before = _shown(playground)[0]["text"]
    assert platform.messenger.find(place, attempt_id="A1", since=SINCE) == "ship-A1"
    assert [message["text"] for message in _shown(playground)] == [before]


def test_a_card_that_cannot_be_asked_for_stays_in_doubt(build: Build, playground: Playground) -> None:
    """No answer is not the answer that there is no card."""
    platform = build()
    place = _place(platform)
    playground.client.faults({"platform": "dingtalk", "kind": "status", "status": 503})
    with pytest.raises(Unavailable):
        platform.messenger.find(place, attempt_id="A1", since=SINCE)


def test_one_attempt_makes_one_card(build: Build, playground: Playground) -> None:
    """The same attempt again changes its card to the newest state, whatever the platform makes of the repetition."""
    platform = build()
    place = _place(platform)
    assert _send(platform, place) == _send(platform, place, FIXED)
    (message,) = _shown(playground)
    assert "成功" in message["text"]


def test_a_deleted_card_is_said_to_be_gone(build: Build) -> None:
    """A card the platform does not know can only be posted anew."""
    platform = build()
    with pytest.raises(DestinationGone) as caught:
        _send(platform, _place(platform), ref="ship-unknown")
    assert caught.value.reason == "message_not_found"


def test_a_group_without_the_robot_is_gone(build: Build) -> None:
    """The call succeeds and the delivery inside it does not: that is what counts."""
    platform = build()
    with pytest.raises((DestinationGone, Rejected)) as caught:
        _send(platform, _place(platform, f"dingtalk:group:{world.DINGTALK_OPS_GROUP}"))
    assert caught.value.reason == "not_delivered"


def test_an_unknown_template_is_named(build: Build) -> None:
    """An operator reads what to repair."""
    platform = build(card_template_id="nobody.schema")
    with pytest.raises(Rejected) as caught:
        _send(platform, _place(platform))
    assert caught.value.reason == "template_not_found"


def test_a_notice_notifies_the_people_it_names(build: Build, playground: Playground) -> None:
    """Only a card can mention people for an app robot, so a notice is one."""
    platform = build()
    _send(platform, _place(platform), Notice("❌", (Plain("user-service#1 失败"),), _people(), locale="zh-CN"), "A3")
    arguments = playground.client.calls(method=CREATE)[0]["arguments"]
    assert arguments["imGroupOpenDeliverModel"] == {
        "robotCode": world.DINGTALK_CLIENT_ID,
        "atUserIds": {"manager4220": "张敏"},
    }
    assert "张敏" in _shown(playground)[0]["text"]


def _people() -> tuple[Person, ...]:
    return (
        Person("张敏", "dingtalk:manager4220", is_mentioned=True),
        Person("Alice", "slack:U024BE7LH", is_mentioned=True),
        Person("李雷", "dingtalk:lilei0017"),
    )


def test_without_a_template_the_app_sends_markdown(build: Build, playground: Playground) -> None:
    """The command can be clicked, and stands there to be typed."""
    platform = build(card_template_id=None)
    place = _place(platform)
    assert _send(platform, place)
    (message,) = _shown(playground)
    assert "@Shipmate 重试 buildbot/user-service#1" in message["text"]
    capabilities = platform.messenger.capabilities(place)
    assert (capabilities.can_edit, capabilities.can_find, capabilities.can_thread) == (False, False, False)


def test_a_custom_robot_posts_signed_markdown(build: Build, playground: Playground) -> None:
    """It cannot hear anybody, so it offers no commands."""
    platform = build()
    place = _place(platform, "dingtalk:robot:ops")
    _send(platform, place)
    _send(platform, place, Notice("❌", (Plain("失败"),), _people()), "A2")
    card, notice = _shown(playground, OPS)
    assert "重试" not in card["text"]
    sent = playground.client.calls(method="robot/send")[1]["arguments"]
    assert sent["at"] == {"atUserIds": ["manager4220"], "isAtAll": False}
    assert "@张敏" in notice["text"]


def test_a_throttled_robot_rests_for_ten_minutes(build: Build, playground: Playground) -> None:
    """The twenty-first text within a minute is refused, and so is everything for ten minutes."""
    platform = build()
    place = _place(platform, "dingtalk:robot:ops")
    for number in range(20):
        _send(platform, place, attempt=f"A{number}")
    with pytest.raises(RateLimited) as caught:
        _send(platform, place, attempt="A20")
    assert (caught.value.retry_after_s, caught.value.scope) == (600.0, "place")


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"kind": "lost_answer"}, OutcomeUnknown),
        ({"kind": "status", "status": 200, "body": "<html>proxy</html>"}, OutcomeUnknown),
        ({"kind": "status", "status": 502}, OutcomeUnknown),
        ({"kind": "status", "status": 503}, Unavailable),
        ({"kind": "status", "status": 200, "body": {"errcode": -1, "errmsg": "busy"}}, Unavailable),
        ({"kind": "status", "status": 200, "body": {"errcode": 310000, "errmsg": "sign not match"}}, AuthFailed),
    ],
)
def test_robots_fail_by_kind(build: Build, playground: Playground, fault: Json, kind: type[Exception]) -> None:
    """What cannot have been posted is tried again; what may have been is in doubt; nothing tells the token."""
    platform = build()
    playground.client.faults({"platform": "dingtalk", "method": "robot/send", **fault})
    with pytest.raises(kind) as caught:
        _send(platform, _place(platform, "dingtalk:robot:ops"))
    assert world.DINGTALK_ROBOT_TOKEN not in str(caught.value)


def test_budgets_keep_to_the_platforms_rates(build: Build) -> None:
    """Twenty a minute for a robot; an app's calls are budgeted together, posts and changes apart."""
    messenger = build().messenger
    robot = messenger.capabilities(messenger.resolve("dingtalk:robot:ops"))
    group = messenger.capabilities(messenger.resolve(f"dingtalk:group:{world.DINGTALK_GROUP}"))
    assert robot.place_budget == Budget.per_minute(robot.place_budget.scope, 20, burst=5)
    assert not robot.account_budgets
    assert group.can_edit
    assert group.can_find
    limits = {
        operation: [(window.calls, window.per_s) for window in windows]
        for operation, windows in group.account_budgets.items()
    }
    calls = {Operation.POST, Operation.UPDATE, Operation.FIND}  # nothing else is called here
    assert limits == {operation: [(300, 60.0), (10, 1.0)] for operation in calls}
    assert group.account_budgets[Operation.POST] != group.account_budgets[Operation.UPDATE]
    assert group.account_budgets[Operation.FIND] == group.account_budgets[Operation.UPDATE]  # the same call
    lifted = build(budgets={"lifted": True}).messenger
    assert lifted.capabilities(lifted.resolve("dingtalk:robot:ops")).place_budget.interval_s == 0.0
    assert not lifted.capabilities(lifted.resolve(f"dingtalk:group:{world.DINGTALK_GROUP}")).account_budgets


def test_a_place_that_left_the_configuration_is_gone(build: Build) -> None:
    """A robot's address cannot be made of its key."""
    platform = build()
    place = Place("dingtalk:robot/0000000000000000", "old")
    with pytest.raises(DestinationGone) as caught:
        _send(platform, place)
    assert caught.value.reason == "not_configured"


def test_the_probe_says_what_it_found(build: Build) -> None:
    """A check tests the credentials and says that robots cannot be tested."""
    assert build().probe() == "app dingplayground: credentials accepted; 1 custom robot(s), not called"  # type: ignore[misc]  # DingTalk always has one
    with pytest.raises(AuthFailed):
        build(client_secret="wrong").probe()  # type: ignore[misc]  # as above


def test_a_group_is_called_by_its_destinations_name(build: Build) -> None:
    """DingTalk's id of a group means nothing to people; one that is not configured has no other name."""
    messenger = build().messenger
    assert messenger.resolve(f"dingtalk:group:{world.DINGTALK_GROUP}").label == "dev"
    assert messenger.resolve("dingtalk:group:cidOTHER==").label == "cidOTHER=="
