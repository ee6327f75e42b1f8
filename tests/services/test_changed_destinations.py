"""Processes are replaced one by one: one that has not read the new file leaves what is for new places to the others."""

from __future__ import annotations

from bot.domain.places import Place
from bot.errors import DestinationGone
from bot.ports import Slot
from tests.services.world import CI, World
from tests.stores import event_of


def test_an_address_that_nobody_here_knows_is_left_alone(world: World) -> None:
    """It is no place, however much it looks like one: whoever knows it looks for it, and shows the card there."""
    world.accept(event_of())
    card = world.card()
    slot = Slot("slack:#new", "card", {})
    world.store.write(lambda tx: tx.places.ensure([Place(slot.destination, slot.destination)]))
    world.store.write(lambda tx: tx.cards.open(card.subject, 1, [slot], is_final=False, at=1.0))
    world.deliver(300)
    assert world.messenger.titles(CI) == ["user-service #12 · running"]
    waiting = world.card(place=slot.destination)
    assert (waiting.is_dead, waiting.tries) == (False, 0)


def test_a_robot_that_this_process_does_not_know_gives_nothing_up(world: World) -> None:
    """Nor does it for one that was taken out: put back, it shows what stands then."""
    world.messenger.fail(CI, *[DestinationGone("dingtalk", "not_configured", "robot")] * 400)
    world.accept(event_of())
    for _ in range(30):
        world.deliver(10)
        world.clock.advance(3600)
    assert (world.card().is_dead, world.card().reason) == (False, "paused:not_configured")
    world.messenger.fails.clear()
    world.deliver(120)
    assert world.messenger.titles(CI) == ["user-service #12 · running"]
