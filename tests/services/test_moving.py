"""Channels that are made again under the same name, and tokens that move to another workspace."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bot.domain.builds import BuildStatus
from bot.domain.routing import Match, Route
from tests.services.world import CI, World
from tests.stores import event_of

ANEW = "slack:T/ci-made-again"
SUCCESS, FAILED = BuildStatus.SUCCESS, BuildStatus.FAILED


def test_a_channel_that_was_made_again_gets_the_cards(make_world: Callable[..., World]) -> None:
    """What is under way or was never shown is posted in the channel that has the name now; what had ended stays."""
    world = make_world(routes=[Route("routes[0]", Match(), ("ci",), thread_log=True)])
    world.accept(event_of(11, status=SUCCESS, at=5, started=0), event_of(12), event_of(13))
    world.deliver(20)
    world.messenger.gone.add(CI)
    world.messenger.moved["slack:#ci"] = ANEW
    world.accept(event_of(12, status=FAILED, at=30, started=0, log="AssertionError"), event_of(14))
    world.deliver(60)
    assert {title for title in world.messenger.standing(ANEW) if "#" in title and "·" in title} == {
        "user-service #12 · failed",
        "user-service #13 · running",
        "user-service #14 · running",
    }
    threads = [call for call in world.messenger.calls if call.place == ANEW and call.parent is not None]
    assert {call.parent for call in threads} == {world.card(12, ANEW).message_ref}
    assert world.slots(11) == {(CI, "card")}
    world.accept(event_of(15))
    world.deliver(5)
    assert world.slots(15) == {(ANEW, "card")}
    assert world.store.read(lambda tx: tx.deliveries.next_ready_at()) is None


@pytest.mark.parametrize("is_known", [True, False])
def test_a_channel_that_is_gone_is_looked_for_once_a_card(make_world: Callable[..., World], is_known: bool) -> None:
    """Where the name leads nowhere, or to the same place again, the card is given up as before."""
    world = make_world()
    world.messenger.gone.add(CI)
    if not is_known:
        world.messenger.unknown.add("slack:#ci")
    world.accept(event_of())
    world.deliver(600)
    assert (world.card().is_dead, world.card().reason) == (True, "dead:channel_not_found")
    assert world.attempt_outcomes() == ["dead:channel_not_found"]
