"""A card whose first post was refused for its content is tried once more for its end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bot.domain.builds import BuildStatus
from bot.domain.cards import Card, Content
from bot.domain.noise import Threshold
from bot.domain.routing import Match, Route
from bot.errors import Rejected
from bot.ports import DeliveryQuery
from tests.services.world import CI, World
from tests.stores import event_of

SUCCESS, FAILED = BuildStatus.SUCCESS, BuildStatus.FAILED
TOO_LONG = Rejected("slack", "msg_too_long")
GROUPED = (Route("routes[0]", Match(), ("ci",), group=Threshold(1, 60.0)),)


def _dead(world: World) -> int:
    return len(world.store.read(lambda tx: tx.inspection.find(DeliveryQuery(is_dead=True), 100)))


def _refused_opening(world: World, error: Exception = TOO_LONG) -> None:
    world.messenger.fail(CI, error)
    world.accept(event_of())
    world.deliver(5)
    assert _dead(world) == 1


@pytest.mark.parametrize("error", [TOO_LONG, Rejected("slack", "invalid_blocks"), Rejected("dingtalk", "too_long")])
@pytest.mark.parametrize("can_edit", [True, False], ids=["edits", "posts"])
def test_the_end_is_shown_where_the_opening_was_refused(error: Exception, can_edit: bool, world: World) -> None:
    """Progress is not tried, the end is: it stands, its notice with it, and nothing is dead any more."""
    world.messenger.can_edit = world.messenger.can_thread = can_edit
    _refused_opening(world, error)
    world.accept(event_of(at=3, started=0, commit_title="more"))
    world.deliver(60)
    assert world.operations() == []
    world.accept(event_of(status=FAILED, at=10, started=0, log="E boom"))
    world.deliver(10)
    assert world.messenger.standing(CI)[0] == "user-service #12 · failed"
    assert not can_edit or world.card(slot="notice").reason == "sent"
    assert (_dead(world), world.card().shown_final) == (0, True)
    assert world.store.read(lambda tx: tx.deliveries.next_ready_at()) is None


def test_explain_tells_of_the_refusal_and_of_the_end(world: World) -> None:
    """First that the end is tried once more, then both attempts."""
    _refused_opening(world)
    world.accept(event_of(status=SUCCESS, at=10, started=0))
    world.ask("explain user-service#12", key="before")
    world.work()
    assert "tried once more for its end" in str(world.answer)
    world.deliver(5)
    world.ask("explain user-service#12", key="after")
    world.work()
    assert "dead:msg_too_long" in str(world.answer)
    assert "posted (state 2)" in str(world.answer)


def test_an_end_that_is_refused_as_well_is_left(world: World) -> None:
    """What is learned of the same end later does not try it again; that is for whoever replays it."""
    tried = []
    _refused_opening(world)
    world.messenger.fail(CI, *[TOO_LONG] * 10)
    world.messenger.before_send = lambda: tried.append(world.clock.now())
    for at in range(3):
        world.accept(event_of(status=FAILED, at=10, started=0, commit_title=f"name {at}"))
        world.deliver(600)
    assert (len(tried), _dead(world)) == (1, 2)  # the card, and its notice
    assert world.card().reason == "dead:msg_too_long"


@pytest.mark.parametrize("attempt", [1, 2])
def test_another_end_is_another_chance(attempt: int, world: World) -> None:
    """The source corrects itself, or the build is run again: that end was never tried."""
    world.messenger.fail(CI, TOO_LONG)
    world.accept(event_of(status=SUCCESS, at=10, started=0))
    world.deliver(5)
    assert _dead(world) == 1
    started = 0 if attempt == 1 else 60
    world.accept(event_of(status=FAILED, at=70, started=started, attempt=attempt))
    world.deliver(5)
    assert world.messenger.standing(CI)[0] == "user-service #12 · failed"
    assert _dead(world) == 0


@pytest.mark.parametrize("is_shown", [False, True], ids=["opening", "change"])
def test_an_end_that_comes_while_a_state_is_refused_is_tried(is_shown: bool, world: World) -> None:
    """Nobody will want it anew: the refusal of what came before must not bury it."""
    if is_shown:
        world.accept(event_of())
        world.deliver(5)
    world.messenger.fail(CI, TOO_LONG)
    world.accept(event_of(at=5, started=0, commit_title="long"))
    (attempt,) = world.claim()
    world.accept(event_of(status=SUCCESS, at=10, started=0))
    world.deliverer.carry_out(attempt)
    assert (world.card().reason, _dead(world)) == ("end_once_more", 0)
    world.deliver(5)
    assert world.messenger.standing(CI) == ["user-service #12 · succeeded"]


def test_what_comes_while_an_end_is_refused_does_not_try_it_again(world: World) -> None:
    """It is the same end."""
    world.messenger.fail(CI, TOO_LONG)
    world.accept(event_of(status=SUCCESS, at=10, started=0))
    (attempt,) = world.claim()
    world.accept(event_of(status=SUCCESS, at=10, started=0, commit_title="a name"))
    world.deliverer.carry_out(attempt)
    assert (world.card().reason, _dead(world)) == ("dead:msg_too_long", 1)


def _drop_it(world: World) -> None:
    card = world.card()
    assert card.is_dead
    assert world.store.write(lambda tx: tx.inspection.drop([card.id])) == [card.id]


def test_a_dropped_end_stays_dropped_whatever_is_learned_of_it(world: World) -> None:
    """Its card stood; what adds to the end is not tried, and the operator sees the letter no more."""
    world.accept(event_of())
    world.deliver(5)
    world.messenger.fail(CI, TOO_LONG)
    world.accept(event_of(status=SUCCESS, at=10, started=0))
    world.deliver(5)
    _drop_it(world)
    world.accept(event_of(status=SUCCESS, at=10, started=0, commit_title="a name"))
    world.deliver(60)
    assert (world.operations(), world.card().reason, _dead(world)) == (["post"], "dropped", 0)


@pytest.mark.parametrize("attempt", [1, 2])
def test_another_end_of_a_dropped_card_that_stands_is_shown(attempt: int, world: World) -> None:
    """The build was run again, or its source corrects itself: that was not what the operator saw."""
    world.accept(event_of())
    world.deliver(5)
    world.messenger.fail(CI, TOO_LONG)
    world.accept(event_of(status=SUCCESS, at=10, started=0))
    world.deliver(5)
    _drop_it(world)
    world.accept(event_of(status=FAILED, at=70, started=0 if attempt == 1 else 60, attempt=attempt))
    world.deliver(5)
    assert world.messenger.standing(CI)[0] == "user-service #12 · failed"


def test_an_opening_that_cannot_be_drawn_does_not_cost_the_end(world: World) -> None:
    """The end may be drawn from other things."""

    def break_on_running(content: Content) -> None:
        if isinstance(content, Card) and "running" in content.title:
            raise KeyError("stage")

    world.messenger.renders = break_on_running
    world.accept(event_of())
    world.deliver(30)
    assert world.card().reason == "dead:render_failed"
    world.accept(event_of(status=SUCCESS, at=40, started=0))
    world.deliver(5)
    assert world.messenger.standing(CI) == ["user-service #12 · succeeded"]


def test_a_digest_that_was_refused_is_shown_at_its_end(make_world: Callable[..., World]) -> None:
    """Its builds stand nowhere else."""
    world = make_world(routes=GROUPED)
    world.accept(event_of(1))
    world.deliver(5)
    world.messenger.fail(CI, TOO_LONG)
    world.accept(event_of(2, at=2))
    world.deliver(5)
    assert _dead(world) == 1
    world.accept(event_of(2, SUCCESS, at=30, started=2))
    world.deliver(5)
    (digest,) = [call.content for call in world.messenger.posts.values() if isinstance(call.content, Card)][1:]
    assert isinstance(digest, Card)
    assert (digest.subject.partition(":")[0], digest.is_final, _dead(world)) == ("digest", True, 0)
