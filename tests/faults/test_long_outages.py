"""Minutes and hours of trouble, by an injected clock: what it costs those who are well, and what is spent meanwhile."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import pytest
from sqlalchemy import Engine

from bot.domain.builds import BuildStatus
from bot.domain.places import DestinationSettings
from bot.domain.routing import Match, Route
from bot.errors import StorageUnavailable, Unavailable
from bot.services.dispatcher import carry_out
from bot.storage.deliveries import SqlDeliveries
from bot.storage.store import SqliteStore
from tests.services.world import CI, DEV, World
from tests.stores import event_of

MINUTE_S, HOUR_S = 60.0, 3600.0
HEALTHY = 100
NUMBERS = (1, 2, 3)
DEAD = "slack:T/c0"
SUCCESS = BuildStatus.SUCCESS


class Away(list[tuple[Exception, bool]]):
    """What a place answers for as long as it `is_away`; how often it was asked."""

    is_away = True
    asked = 0

    def __bool__(self) -> bool:
        return self.is_away

    def pop(self, _index: object = -1) -> tuple[Exception, bool]:
        """The next failure."""
        self.asked += 1
        return Unavailable("slack", "unreachable"), False


def take_away(world: World, place: str) -> Away:
    """From now on nobody answers at a place."""
    world.messenger.fails[place] = away = Away()
    return away


def test_one_dead_place_costs_a_hundred_healthy_ones_nothing(
    sqlite_store: SqliteStore, sqlite_database: Engine
) -> None:
    """For an hour nobody answers in one of 101 channels: it is asked seldom, the others see each state at once.

    When it answers again it shows the newest state of every build, and nothing but that. On one engine, for its six
    hundred deliveries: what it asks of a database the next test asks of both.
    """
    names = [f"c{number}" for number in range(HEALTHY + 1)]
    world = World(
        sqlite_store,
        sqlite_database,
        routes=(Route("routes[0]", Match(), tuple(names)),),
        destinations={name: DestinationSettings(name, f"slack:#{name}") for name in names},
    )
    away, late_s = take_away(world, DEAD), []
    for number in NUMBERS:
        for status, pause_s in ((BuildStatus.RUNNING, MINUTE_S), (SUCCESS, HOUR_S / len(NUMBERS) - MINUTE_S)):
            told_at, calls = world.clock.now(), len(world.messenger.calls)
            world.accept(event_of(number, status, at=number * 10 + (status is SUCCESS)))
            world.deliver(pause_s)
            late_s += [(call.at - told_at).total_seconds() for call in world.messenger.calls[calls:]]
    assert len(late_s) == len(NUMBERS) * 2 * HEALTHY
    assert max(late_s) < 2.0
    assert 8 <= away.asked <= 250  # at most one call in a quarter of a minute, once the first pauses are over
    away.is_away = False
    calls = len(world.messenger.calls)
    world.deliver(5 * MINUTE_S)
    posted = [call.title for call in world.messenger.calls[calls:]]
    assert sorted(posted) == [f"user-service #{number} · succeeded" for number in NUMBERS]


def test_minutes_without_the_platform_end_with_the_newest_state_once(make_world: Callable[..., World]) -> None:
    """Two channels, ten minutes, eight builds that begin and end: one post of each, final, and few calls before it."""
    world = make_world(routes=(Route("routes[0]", Match(), ("ci", "dev")),))
    aways = [take_away(world, place) for place in (CI, DEV)]
    for number in range(1, 9):
        for at, status in ((0, BuildStatus.RUNNING), (10, SUCCESS)):
            world.accept(event_of(number, status, at=number * 20 + at))
            world.deliver(10 * MINUTE_S / 16)
    assert world.messenger.calls == []
    assert max(away.asked for away in aways) <= 100
    for away in aways:
        away.is_away = False
    world.deliver(10 * MINUTE_S)
    shown: dict[str, list[str]] = defaultdict(list)
    for call in world.messenger.calls:
        shown[call.place].append(call.title)
    finals = sorted(f"user-service #{number} · succeeded" for number in range(1, 9))
    assert {place: sorted(titles) for place, titles in shown.items()} == {CI: finals, DEV: finals}


def test_a_disk_that_fills_up_between_sending_and_recording_doubles_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The card was posted and that could not be stored under its lease: it is found when there is room again."""
    world.settling.stop()  # nobody waits for room here
    settle, full = SqlDeliveries.settle, [True]

    def fail(self: SqlDeliveries, *arguments: object) -> bool:
        if full:
            raise StorageUnavailable("the database did not commit: database or disk is full")
        return settle(self, *arguments)  # type: ignore[arg-type] # handed on

    monkeypatch.setattr(SqlDeliveries, "settle", fail)
    world.accept(event_of(12))
    for work in world.claim():
        carry_out(world.deliverer, work)
    assert world.operations() == ["post"]
    full.clear()
    world.accept(event_of(12, SUCCESS, at=30))
    world.deliver(MINUTE_S)
    assert world.operations() == ["post", "update"]
    assert world.card().shown_final
