"""Rows that make no sense, of a newer version's or of nobody's: each is left alone, and stops nobody beside it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Engine, Table, update

from bot.domain.builds import BuildStatus
from bot.domain.noise import Threshold
from bot.domain.places import OVERDUE_SLOT, DestinationSettings, kind_of_slot
from bot.domain.routing import Match, Route
from bot.errors import Unavailable
from bot.ports import DeliveryQuery, Subscription
from bot.services import upkeep
from bot.services.signal import Signal
from bot.services.upkeep import Upkeep
from bot.storage.store import SqliteStore
from bot.storage.tables import cards, storms, subjects, subscriptions
from tests.services.world import CI, World
from tests.stores import event_of, key_of

SUCCESS = BuildStatus.SUCCESS
ADMIN = "slack:T/ops"
PLACES = {name: DestinationSettings(name, f"slack:#{name}") for name in ("ci", "ops")}
GROUPED = Route("routes[0]", Match(), ("ci",), group=Threshold(1, 60.0))


def spoil(world: World, number: int) -> None:
    """Let what is stored of a build make no sense."""
    with world.database.begin() as connection:
        connection.execute(update(subjects).where(subjects.c.key == str(key_of(number))).values(folded={}))


def test_the_next_end_on_its_branch_is_heard(world: World) -> None:
    """Whether it fixed anything is judged by the runs that can be read."""
    for number in (1, 2):
        world.accept(event_of(number, SUCCESS, at=10.0 * number, started=10.0 * number - 5))
    spoil(world, 2)  # the one next to it
    assert world.accept(event_of(3, SUCCESS, at=35, started=30)) == ["accepted"]
    world.deliver(10)
    assert "user-service #3 · succeeded" in world.messenger.standing(CI)


def test_its_digest_shows_the_others(make_world: Callable[..., World]) -> None:
    """One line less, and the count of all."""
    world = make_world(routes=(GROUPED,))
    for number in range(1, 6):
        world.accept(event_of(number, at=float(number)))
    spoil(world, 4)
    world.deliver(10)
    digest = world.messenger.standing(CI)[-1]
    assert digest == "Many builds at once: 4"
    assert world.card(2).reason == "folded:digest"


def test_other_delays_are_told(world: World) -> None:
    """A card of a subject whose very name makes no sense waits; the remark about another one is made."""
    clockwork = Upkeep(world.store, world.clock, Signal())
    for number in (1, 2):
        world.accept(event_of(number, at=float(number)))
    world.deliver(5)
    world.messenger.fail(CI, *[Unavailable("slack", "unreachable")] * 12)
    for number in (1, 2):
        world.accept(event_of(number, SUCCESS, at=10.0, started=float(number)))
    with world.database.begin() as connection:
        connection.execute(update(cards).where(cards.c.subject_key == str(key_of(1))).values(subject_key="nonsense"))
    world.clock.advance(40)
    assert clockwork.tell_overdue() == 1
    slots = world.store.read(lambda tx: [card.slot for card in tx.cards.of_subject(str(key_of(2)))])
    assert any(kind_of_slot(slot) == OVERDUE_SLOT for slot in slots)


def test_delays_behind_them_are_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many cards come first that nobody can read: whose wishes make no sense, or whose subject does not."""
    monkeypatch.setattr(upkeep, "OVERDUE_BATCH", 2)
    for number in range(1, 7):
        world.accept(event_of(number, at=float(number)))
    world.deliver(20)
    world.messenger.fail(CI, *[Unavailable("slack", "unreachable")] * 60)
    for number in range(1, 7):
        world.accept(event_of(number, SUCCESS, at=10.0 + number, started=float(number)))
        world.clock.advance(0.01)
    with world.database.begin() as connection:
        connection.execute(update(cards).where(cards.c.subject_key == str(key_of(1))).values(subject_key="nonsense"))
        for number in (2, 3, 4):
            connection.execute(update(cards).where(cards.c.subject_key == str(key_of(number))).values(options=[7]))
    world.clock.advance(40)
    assert Upkeep(world.store, world.clock, Signal()).tell_overdue() == 2
    for number in (5, 6):
        assert any(kind_of_slot(slot) == OVERDUE_SLOT for _, slot in world.slots(number))


def cut_short(database: Engine, table: Table, column: str, condition: str) -> None:
    """Let a value be no JSON any more, as a tool that writes into the file may."""
    with database.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {table} SET {column} = '{{\"me' WHERE {condition}")


def test_a_card_whose_wishes_are_no_json_stops_no_other(sqlite_store: SqliteStore, sqlite_database: Engine) -> None:
    """It is given up, and the admin is told; its place shows the others, and everything can be listed."""
    world = World(sqlite_store, sqlite_database, destinations=PLACES, admin="ops")
    for number in (1, 2):
        world.accept(event_of(number))
    cut_short(sqlite_database, cards, "options", f"subject_key = '{key_of(1)}'")
    world.deliver(5)
    assert world.messenger.standing(CI) == ["user-service #2 · running"]
    assert world.card(1).reason == "dead:unreadable"
    (told,) = world.messenger.titles(ADMIN)
    assert told.startswith("Given up · user-service#1 (card) → #ci (slack)")
    assert len(world.store.read(lambda tx: tx.inspection.find(DeliveryQuery(), 10))) == 3


@pytest.mark.parametrize("options", ["[7]", f"[{'7' * 5000}]", "null"], ids=["list", "too large a number", "nothing"])
def test_wishes_that_are_no_wishes_stop_no_other(world: World, options: str) -> None:
    """The same where it is JSON to either engine, but nothing that could be wished, or that Python reads."""
    for number in (1, 2):
        world.accept(event_of(number))
    with world.database.begin() as connection:
        connection.exec_driver_sql(f"UPDATE cards SET options = '{options}' WHERE subject_key = '{key_of(1)}'")
    world.deliver(5)
    assert (world.card(1).reason, world.card(2).reason) == ("dead:unreadable", "sent")


def test_its_next_event_gives_such_a_card_its_wishes_back(sqlite_store: SqliteStore, sqlite_database: Engine) -> None:
    """The door takes the end of the build, and the card that stood shows it."""
    world = World(sqlite_store, sqlite_database)
    world.accept(event_of(1))
    world.deliver(5)
    cut_short(sqlite_database, cards, "options", "TRUE")
    world.accept(event_of(1, SUCCESS, at=5, started=0), event_of(2))
    world.deliver(10)
    assert sorted(world.messenger.standing(CI)) == ["user-service #1 · succeeded", "user-service #2 · running"]


def test_a_build_that_is_no_json_is_passed_over(sqlite_store: SqliteStore, sqlite_database: Engine) -> None:
    """Lists, neighbours and what is silent are told without it."""
    world = World(sqlite_store, sqlite_database)
    for number in (1, 2, 3):
        world.accept(event_of(number, at=float(number)))
    world.accept(event_of(2, SUCCESS, at=20.0, started=2.0))
    cut_short(sqlite_database, subjects, "folded", f"key = '{key_of(2)}'")
    far = world.clock.now().timestamp() + 1000.0
    newest = world.store.read(lambda tx: [one.key.number for one in tx.subjects.newest(None, 10)])
    silent = world.store.read(lambda tx: [one.key.number for one in tx.subjects.silent(far, 10)])
    assert (newest, silent) == (["3", "1"], ["1", "3"])
    assert world.accept(event_of(3, SUCCESS, at=35, started=3)) == ["accepted"]
    world.deliver(10)
    assert "user-service #3 · succeeded" in world.messenger.standing(CI)


def test_what_is_counted_of_a_storm_is_counted_anew(sqlite_store: SqliteStore, sqlite_database: Engine) -> None:
    """Where that is no JSON no build is turned away for it, and no card is given up."""
    world = World(sqlite_store, sqlite_database, routes=(GROUPED,))
    world.accept(event_of(1))
    cut_short(sqlite_database, storms, "recent", "TRUE")
    world.accept(event_of(2, at=1.0))
    world.deliver(10)
    assert not any(one.card.is_dead for one in world.store.read(lambda tx: tx.inspection.find(DeliveryQuery(), 10)))


def test_a_wish_that_is_no_json_keeps_nobody_from_hearing(sqlite_store: SqliteStore, sqlite_database: Engine) -> None:
    """What a channel once asked for is passed over, and builds of that project are taken and shown elsewhere."""
    world = World(sqlite_store, sqlite_database)
    wish = Subscription("slack:C9", "*", is_mute=False, milestones=("started",), locale="en", created_by="slack:U1")
    sqlite_store.write(lambda tx: tx.subscriptions.put(wish, 0.0))
    cut_short(sqlite_database, subscriptions, "milestones", "TRUE")
    assert world.accept(event_of(1)) == ["accepted"]
    world.deliver(5)
    assert world.messenger.standing(CI) == ["user-service #1 · running"]
