"""Answers to people share the budgets of places and accounts with cards: never too many, and people first."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from bot.domain.budgets import Window
from bot.domain.builds import BuildStatus
from bot.domain.commands import Actor, ReplyTo
from bot.domain.places import DestinationSettings, Operation
from bot.domain.routing import Match, Route
from bot.errors import RateLimited, StorageUnavailable, Unavailable
from bot.services import answering as answering_module
from bot.services.answering import AnswerBudget
from bot.services.dispatcher import carry_out
from tests.fakes import FakeResponder
from tests.services.world import CI, World
from tests.stores import event_of

SUCCESS = BuildStatus.SUCCESS
CHANNELS = [f"c{number}" for number in range(6)]


class Answering:
    """A world whose answers are counted, each with the moment it was given."""

    def __init__(self, world: World, patch: pytest.MonkeyPatch) -> None:
        self.world, self.answered_at = world, list[float]()
        respond = FakeResponder._respond

        def note(responder: FakeResponder, *arguments: object) -> None:
            self.answered_at.append(self.now())
            respond(responder, *arguments)  # type: ignore[arg-type] # handed on

        patch.setattr(FakeResponder, "_respond", note)
        world.responder.spending(AnswerBudget(world.settling, world.clock, {"slack": world.messenger}))

    def now(self) -> float:
        """Seconds since 1970."""
        return self.world.clock.now().timestamp()

    def live(self, seconds: float) -> None:
        """Let commands and cards be worked on, whatever is due first."""
        world, end = self.world, self.now() + seconds
        while True:
            dues = world.store.read(lambda tx: (tx.commands.next_due_at(), tx.deliveries.next_ready_at()))
            due = min((one for one in dues if one is not None), default=end)
            if due > end:
                world.clock.advance(end - self.now())
                return
            world.clock.advance(max(0.0, due - self.now()) + 1e-5)
            for delivery in world.deliverer.claim(4):
                carry_out(world.deliverer, delivery)
            world.work_once()
            if due >= end:
                return

    def calls_at(self, place: str = CI) -> list[float]:
        """When the place was called, for cards and for answers."""
        return sorted(
            [call.at.timestamp() for call in self.world.messenger.calls if call.place == place] + self.answered_at
        )


@pytest.fixture
def answering(world: World, monkeypatch: pytest.MonkeyPatch) -> Answering:
    """One channel."""
    return Answering(world, monkeypatch)


def test_a_busy_channel_answers_within_moments_and_keeps_its_pace(answering: Answering) -> None:
    """Many cards wait for a channel, and people ask there: an answer has the next turn, and no turn comes early."""
    world = answering.world
    for number in range(20):
        world.accept(event_of(number, branch=str(number)))
    answering.live(4.5)
    asked_at = answering.now()
    for _ in range(3):
        world.ask("help")
    answering.live(30)
    assert len(world.said) == 3
    assert max(answering.answered_at) - asked_at < 5
    assert min(later - earlier for earlier, later in pairwise(answering.calls_at())) > 0.99
    assert len(world.messenger.calls) == 20


def test_an_answer_waits_for_a_card_that_is_on_its_way(answering: Answering) -> None:
    """One worker calls a place at a time; when the card is settled the answer has the next turn."""
    world = answering.world
    world.accept(event_of(1), event_of(2, branch="two"))
    (card,) = world.claim()
    world.ask("help")
    world.work(0.1)
    assert world.said == []
    carry_out(world.deliverer, card)
    answering.live(10)
    assert len(world.said) == 1
    assert answering.calls_at()[1:2] == answering.answered_at
    assert min(later - earlier for earlier, later in pairwise(answering.calls_at())) > 0.99


def test_an_account_without_room_answers_before_it_shows_cards(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six channels wait for their turn to post; the person has the first one, and the minute's calls are kept."""
    routes = [Route(f"routes[{name}]", Match(project=(name,)), (name,)) for name in CHANNELS]
    places = {name: DestinationSettings(name, f"slack:#{name}") for name in CHANNELS}
    world = make_world(routes=routes, destinations=places)
    world.messenger.account = {Operation.POST: (Window("slack:T:chat.postMessage", 2),)}
    answering = Answering(world, monkeypatch)
    for name in CHANNELS:
        world.accept(event_of(1, project=name))
    answering.live(5)
    assert len(world.messenger.calls) == 2
    world.ask("help")
    answering.live(300)
    calls = sorted([call.at.timestamp() for call in world.messenger.calls] + answering.answered_at)
    assert len(calls) == 7
    assert answering.answered_at[0] <= calls[3]
    assert all(third - first > 60 for first, third in zip(calls, calls[2:], strict=False))


def test_a_limit_that_an_answer_meets_holds_for_cards(answering: Answering) -> None:
    """The platform asks for a pause: the place is left alone by all, then the answer goes first."""
    world = answering.world
    world.responder.fails = [RateLimited("slack", "rate_limited", 20.0)]
    world.ask("help")
    answering.live(1)
    world.accept(event_of(1))
    answering.live(15)
    assert (world.messenger.calls, world.said) == ([], [])
    answering.live(15)
    assert (len(world.messenger.calls), len(world.said)) == (1, 1)


def test_an_answer_that_fails_leaves_the_place_free(answering: Answering) -> None:
    """Whatever comes of the call, others do not wait for a lease to end."""
    world = answering.world
    world.responder.fails = [Unavailable("slack", "unreachable")]
    world.ask("help")
    world.accept(event_of(1))
    answering.live(5)
    assert (len(world.messenger.calls), len(world.said)) == (1, 1)


def test_a_worker_that_dies_while_it_answers_blocks_nobody_for_long(answering: Answering) -> None:
    """Its hold on the place ends as a card's does; the next worker answers."""
    world = answering.world

    class Died(BaseException):
        """The worker is no more."""

    def die(_tx: object) -> None:
        raise Died

    world.ask("help")
    (record,) = world.take()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AnswerBudget, "_settle", lambda *_arguments: die(None))
        with pytest.raises(Died):
            world.worker.carry_out(record)
    world.responder.answers.clear()
    world.accept(event_of(1))
    answering.live(90)
    assert (len(world.messenger.calls), len(world.said)) == (1, 1)


def test_an_answer_that_was_given_is_not_given_again_for_its_count(
    answering: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database stays away when the call has been made: the person has read it, and the place is free soon."""
    world = answering.world
    world.settling.stop()  # nobody waits for it here

    def away(*_arguments: object, **_more: object) -> None:
        raise StorageUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(answering_module, "settle", away)
        world.ask("help")
        answering.live(5)
    world.accept(event_of(1))
    answering.live(90)
    assert (len(world.messenger.calls), len(world.said)) == (1, 1)


def test_people_who_ask_in_many_places_make_no_place_that_cards_go_to(answering: Answering) -> None:
    """A direct conversation becomes known by an answer, and nothing else happens there."""
    world = answering.world
    reply_to = ReplyTo("slack", "slack:T/D1")
    world.inbox.accept(typed="help", dedup_key="one", actor=Actor("slack:U1", "U1"), reply_to=reply_to, via="typed")
    answering.live(5)
    world.accept(event_of(1))
    answering.live(5)
    assert len(world.said) == 1
    assert {call.place for call in world.messenger.calls} == {CI}
