"""Builds of which nothing is heard any more: they end, visibly, and late words still count."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bot.domain.builds import BuildStatus
from bot.domain.cards import Card
from bot.domain.places import DestinationSettings
from bot.services.expiry import BATCH, Expiry
from tests.services.world import CI, World
from tests.stores import event_of, key_of

pytestmark = pytest.mark.one_engine

DAY = 86400.0
SUCCESS, FAILED = BuildStatus.SUCCESS, BuildStatus.FAILED


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """A world whose source cannot be asked, with a build that began."""
    world = make_world()
    world.accept(event_of())
    world.deliver(5)
    return world


def expire(world: World) -> int:
    """What the clock does every five minutes."""
    return Expiry(world.store, world.clock, world.ingest).end_silent()


def shown(world: World) -> Card:
    """The build's card."""
    content = world.messenger.posts[CI, world.card().message_ref or ""].content
    assert isinstance(content, Card)
    return content


def test_a_build_that_is_silent_for_a_week_ends(world: World) -> None:
    """Its card says that nobody knows how it ended, and for how long nothing was heard."""
    world.clock.advance(7 * DAY - 60)
    assert expire(world) == 0
    world.clock.advance(120)
    assert expire(world) == 1
    world.deliver(5)
    assert shown(world).title == "user-service #12 · ended, outcome unknown"
    assert "Nothing was heard of it for 7 days." in str(shown(world).sections)
    assert shown(world).is_final
    assert expire(world) == 0


def test_the_card_says_so_in_chinese(make_world: Callable[..., World]) -> None:
    """In the language of the place."""
    world = make_world(destinations={"ci": DestinationSettings("ci", "slack:#ci", locale="zh-CN")})
    world.accept(event_of())
    world.deliver(5)
    world.clock.advance(8 * DAY)
    expire(world)
    world.deliver(5)
    assert "已有 7 天没有收到任何消息。" in str(shown(world).sections)


@pytest.mark.parametrize("is_new", [True, False])
def test_whatever_is_heard_begins_the_week_anew(world: World, is_new: bool) -> None:
    """A sign of life is one even where it says nothing new."""
    world.clock.advance(6 * DAY)
    later = event_of(at=6 * DAY, started=0, commit_title="a change" if is_new else None)
    world.accept(later)
    for _ in range(2):
        world.clock.advance(3 * DAY)
        assert expire(world) == 0
    world.clock.advance(2 * DAY)
    assert expire(world) == 1


def test_a_late_end_counts_after_all(world: World) -> None:
    """What the source says of the end outranks the silence, and the remark on it goes."""
    world.clock.advance(8 * DAY)
    expire(world)
    world.deliver(5)
    world.accept(event_of(status=FAILED, at=60, started=0))
    world.deliver(5)
    assert shown(world).title == "user-service #12 · failed"
    assert "Nothing was heard" not in str(shown(world))


def test_two_clocks_end_a_build_once(world: World) -> None:
    """Whoever comes second finds it ended, or stores nothing."""
    world.clock.advance(8 * DAY)
    silent = world.store.read(lambda tx: tx.subjects.silent(world.clock.now().timestamp(), 10))
    assert expire(world) == 1
    second = Expiry(world.store, world.clock, world.ingest)
    assert not second._end(silent[0], world.clock.now().timestamp())
    world.deliver(5)
    assert world.operations() == ["post", "update"]


def test_builds_that_ended_or_are_asked_about_are_left_alone(make_world: Callable[..., World]) -> None:
    """An end that was heard stands; a build that its source is asked about ends when the source says so."""
    world = make_world(readable=frozenset({"buildbot"}))
    world.accept(event_of(1), event_of(2), event_of(2, SUCCESS, at=5, started=0), event_of(3, source="generic"))
    world.clock.advance(30 * DAY)
    assert expire(world) == 1
    record = world.store.read(lambda tx: tx.subjects.get(key_of(3, source="generic")))
    assert record is not None
    assert record.build().is_finished


def test_many_silent_builds_end_in_batches(make_world: Callable[..., World]) -> None:
    """An upgrade that finds years of them does not stop everything else."""
    world = make_world(routes=())
    world.accept(*(event_of(number) for number in range(BATCH + 20)))
    world.clock.advance(8 * DAY)
    assert [expire(world) for _ in range(3)] == [BATCH, 20, 0]
