"""`explain`: from the events over the routes to what stands at each place, in words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import time

import pytest

from bot.domain.builds import BuildStatus
from bot.domain.cards import Card, Code, Lines, Moment, Notice
from bot.domain.noise import QuietHours
from bot.domain.places import DestinationSettings
from bot.domain.routing import Match, Milestone, Route
from bot.errors import DestinationGone, Rejected
from bot.ports import Subscription
from tests.services.world import CI, World
from tests.stores import NOW, event_of

pytestmark = pytest.mark.one_engine

FAILED = BuildStatus.FAILED
ROUTES = (
    Route("routes[0]", Match(), ("ci", "dev")),
    Route("routes[1]", Match(branch=("main", "release/*")), ("ops",)),
    Route("routes[2]", Match(), ("ops",), when=frozenset({Milestone.FIXED, Milestone.FAILED})),
)
PLACES = {name: DestinationSettings(name, f"slack:#{name}") for name in ("ci", "dev", "ops")}
DEV = "slack:T/dev"


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """Three routes to three places, and a running build of the branch dev."""
    world = make_world(destinations=PLACES, routes=ROUTES)
    world.messenger.fail(DEV, Rejected("slack", "other", "some_new_error"))
    world.accept(event_of(1, branch="dev"))
    world.deliver(5)
    return world


def _words(card: Card) -> dict[str, list[str]]:
    """What a reader sees below each heading; moments as seconds after the beginning."""
    found = {}
    for section in card.sections:
        assert isinstance(section, Lines)
        found[section.title] = [
            "".join(
                f"+{part.at.timestamp() - NOW:.0f}" if isinstance(part, Moment) else getattr(part, "text", "")
                for part in line
            )
            for line in section.items
        ]
    return found


def _explained(world: World, typed: str = "explain user-service#1", **who: str) -> dict[str, list[str]]:
    world.ask(typed, who.get("person", "U1"), platform=who.get("platform", "slack"))
    world.work()
    return _words(world.card_answer())


def test_the_whole_way_is_told(world: World) -> None:
    """Events with their times, each route's answer, each place's slots with reason and attempts."""
    died = "given up: The platform refuses the post as it is · dead:other"
    assert _explained(world) == {
        "Events": ["+0 · began"],
        "Routes": [
            "routes[0] · matches → ci, dev",
            "routes[1] · does not match · branch dev ≠ main, release/*",
            "routes[2] · opens at a failure or a repair → ops",
        ],
        "#ci": ["card · shown · sent", "↳ +0 · posted (state 1) → shown · <1 s"],
        "#dev": [
            f"card · {died} · shipmate dead show {_id(world)}",
            f"↳ +0 · posted (state 1) → {died} (some_new_error) · <1 s",
        ],
    }


def _id(world: World) -> int:
    return world.card(1, DEV).id


def test_the_same_is_told_in_chinese(world: World) -> None:
    """To whoever asks in a DingTalk group."""
    told = _explained(world, "为什么 user-service#1", person="m1", platform="dingtalk")
    assert told["事件"] == ["+0 · 开始"]
    assert told["路由"] == [
        "routes[0] · 匹配 → ci, dev",
        "routes[1] · 不匹配 · 分支 dev ≠ main, release/*",
        "routes[2] · 将在失败时或修复时打开 → ops",
    ]
    assert told["#ci"] == ["卡片 · 已展示 · sent", "↳ +0 · 发布 (状态 1) → 已展示 · <1 秒"]
    assert told["#dev"][0].startswith("卡片 · 已放弃：平台拒绝接受这条消息的内容 · dead:other")


def test_what_waits_says_until_when(world: World) -> None:
    """The reason, and when it is tried next; every attempt is there."""
    world.messenger.fail(CI, DestinationGone("slack", "message_not_found"))
    world.accept(event_of(1, FAILED, at=20, started=0, branch="dev"))
    world.deliver(1)
    told = _explained(world)
    assert told["Events"] == ["+0 · began", "+20 · ended"]
    assert told["#ci"][0].startswith("card · ")
    assert [line.split(" → ")[1].split(" · ")[0] for line in told["#ci"] if line.startswith("↳")][:2] == [
        "shown",
        "somebody removed the post, it is posted anew",
    ]
    assert "routes[2] · matches → ops" in told["Routes"]


def test_an_event_that_came_late_says_so(world: World) -> None:
    """Between what happened and what was heard lies the network, or a bot that was down."""
    world.clock.advance(300)
    world.accept(event_of(1, FAILED, at=20, started=0, branch="dev"))
    assert _explained(world)["Events"][1] == "+20 · ended · heard of 4 min 45 s later"


def test_a_muted_place_is_told_apart(make_world: Callable[..., World]) -> None:
    """The route's other places are not muted with it."""
    world = make_world(destinations=PLACES, routes=ROUTES[:1])
    muted = Subscription(DEV, "user-service", True, (), "en", "slack:U1")
    world.store.write(lambda tx: tx.subscriptions.put(muted, NOW))
    world.accept(event_of(1))
    world.deliver(5)
    told = _explained(world)
    assert told["Routes"] == [
        "routes[0] · matches → ci",
        "routes[0] · this place asked for no cards of this project → dev",
    ]
    assert set(told) == {"Events", "Routes", "#ci"}


@pytest.mark.parametrize("word", ["{}", "#{}"])
def test_one_card_is_explained_by_its_number(word: str, world: World) -> None:
    """As `shipmate dead list` shows it: that place alone."""
    told = _explained(world, f"explain {word.format(_id(world))}")
    assert set(told) == {"Events", "Routes", "#dev"}
    assert told["Routes"] == ["routes[0] · matches → dev"]


@pytest.mark.parametrize("typed", ["explain 99999", "explain #99999"])
def test_a_number_that_no_card_has_is_said(typed: str, world: World) -> None:
    """In words, not as a mistake of ours."""
    world.ask(typed)
    world.work()
    assert isinstance(world.answer, Notice)
    assert world.said[-1].startswith("I know no card of that number.")


def test_a_build_that_no_route_speaks_of_is_explained(make_world: Callable[..., World]) -> None:
    """Its events are known all the same."""
    world = make_world(destinations=PLACES, routes=())
    world.accept(event_of(1))
    world.ask("explain user-service#1")
    world.work()
    assert "No route speaks of it." in str(world.card_answer())


def test_a_state_that_waits_behind_one_that_stands_is_told(world: World) -> None:
    """`shown` alone would say that there is nothing more to come."""
    world.deliver(30)
    world.accept(event_of(1, at=40, started=0, branch="dev", commit_title="one"))
    world.deliver(1)
    world.accept(event_of(1, at=41, started=0, branch="dev", commit_title="two"))
    (line, *_) = _explained(world)["#ci"]
    words = "card · the state before was dealt with, the next one waits for its turn · held:pace · next try"
    assert line.startswith(words)
    world.deliver(10)
    assert _explained(world)["#ci"][0] == "card · shown · sent"


def _many(make_world: Callable[..., World], count: int) -> World:
    """A route to so many places, and one more that is quiet now."""
    names = [f"c{number:02}" for number in range(count)]
    places = {name: DestinationSettings(name, f"slack:#{name}") for name in names}
    places["zz"] = DestinationSettings("zz", "slack:#zz", quiet_hours=QuietHours(time(3), time(5)))
    return make_world(destinations=places, routes=(Route("routes[0]", Match(), (*names, "zz")),))


def test_what_is_held_or_dead_is_told_before_what_is_well(make_world: Callable[..., World]) -> None:
    """However many places there are; those where all is well are summed up by their names."""
    world = _many(make_world, 20)
    world.messenger.fail("slack:T/c19", DestinationGone("slack", "not_in_channel"))
    world.accept(event_of(1))
    world.deliver(60)
    told = _explained(world)
    assert list(told)[:3] == ["#c19", "#zz", "Events"]
    assert "dead:not_in_channel" in told["#c19"][0]
    assert "held:quiet_hours" in told["#zz"][0]
    names = [f"#c{number:02}" for number in range(6, 16)]
    assert told["sent · shown"] == [", ".join([*names, "… and 3 more"])]


def test_nothing_that_was_given_up_is_left_out(make_world: Callable[..., World]) -> None:
    """What has no room with its attempts is named by place and number, and each number can be asked for."""
    world = _many(make_world, 20)
    for number in range(20):
        world.messenger.fail(f"slack:T/c{number:02}", DestinationGone("slack", "not_in_channel"))
    world.accept(event_of(1))
    world.deliver(60)
    told = _explained(world)
    dead, held = list(told)[:2]
    assert (dead.partition(" · ")[0], held.partition(" · ")[0]) == ("dead:not_in_channel", "held:quiet_hours")
    for number in range(20):
        card = world.card(1, f"slack:T/c{number:02}")
        assert f"#c{number:02} card #{card.id}" in " ".join(told[dead])
    assert told[held] == [f"#zz card #{world.card(1, 'slack:T/zz').id}"]
    asked = world.card_answer().footer[-1]
    assert isinstance(asked, Code)
    assert next(iter(_explained(world, asked.text))) == "#zz"
