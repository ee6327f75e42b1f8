"""Rows that make no sense, of a newer version's or of nobody's: each is left alone, and stops nobody beside it."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import update

from bot.domain.builds import BuildStatus
from bot.domain.noise import Threshold
from bot.domain.places import OVERDUE_SLOT, kind_of_slot
from bot.domain.routing import Match, Route
from bot.errors import Unavailable
from bot.services.signal import Signal
from bot.services.upkeep import Upkeep
from bot.storage.tables import cards, subjects
from tests.services.world import CI, World
from tests.stores import event_of, key_of

SUCCESS = BuildStatus.SUCCESS
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
    upkeep = Upkeep(world.store, world.clock, Signal())
    for number in (1, 2):
        world.accept(event_of(number, at=float(number)))
    world.deliver(5)
    world.messenger.fail(CI, *[Unavailable("slack", "unreachable")] * 12)
    for number in (1, 2):
        world.accept(event_of(number, SUCCESS, at=10.0, started=float(number)))
    with world.database.begin() as connection:
        connection.execute(update(cards).where(cards.c.subject_key == str(key_of(1))).values(subject_key="nonsense"))
    world.clock.advance(40)
    assert upkeep.tell_overdue() == 2
    slots = world.store.read(lambda tx: [card.slot for card in tx.cards.of_subject(str(key_of(2)))])
    assert any(kind_of_slot(slot) == OVERDUE_SLOT for slot in slots)
