"""Answers that a platform does not take at once: they are given when it does, and nothing is done a second time."""

from __future__ import annotations

import json

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import select

from bot.domain.commands import Actor, ReplyTo
from bot.errors import AuthFailed, IntegrationError, OutcomeUnknown, RateLimited, Unavailable
from bot.services.owed import LIFE_S
from bot.services.steps import STEP_S
from bot.services.wording import content_from_json, content_to_json
from bot.storage.tables import commands
from tests.cards.cases import cards, notices
from tests.services.world import World

pytestmark = pytest.mark.one_engine

HINDERED = [RateLimited("slack", "rate_limited", 7.0), Unavailable("slack", "unreachable")]


def counted(outcome: str) -> float:
    """How many answers came to that."""
    labels = {"platform": "slack", "outcome": outcome}
    return REGISTRY.get_sample_value("shipmate_answers_total", labels) or 0.0


@pytest.fixture(params=HINDERED, ids=["limited", "away"])
def hindered(request: pytest.FixtureRequest, world: World) -> World:
    """The next answer meets a limit, or nobody."""
    world.responder.fails = [request.param]
    return world


def test_what_only_looks_is_answered_later(hindered: World) -> None:
    """A help and a status are asked once and answered once."""
    hindered.ask("help")
    hindered.work_once()
    assert (hindered.said, hindered.open_commands()) == ([], 1)
    hindered.work(10)
    assert (hindered.said, hindered.states(), hindered.open_commands()) == (["What I can do"], ["done"], 0)


def test_a_retry_is_told_later_and_made_once(hindered: World) -> None:
    """The build was started; only the words are owed, and pressing again meanwhile starts none."""
    key = hindered.builds.start()
    hindered.builds.finish(key)
    hindered.ask(f"retry {key.short}")
    hindered.work_once()
    assert (hindered.said, hindered.states(), hindered.open_commands()) == ([], ["done"], 1)
    hindered.ask(f"retry {key.short}", "U2")
    hindered.work(10)
    assert sorted(said.partition(" ")[0] for said in hindered.said) == ["Started", "U1"]
    assert (len(hindered.builds.requests), hindered.open_commands()) == (1, 0)


@pytest.mark.parametrize("typed", ["retry user-service#1", "retry nothing#1", "statsu"])
def test_a_refusal_is_told_later(typed: str, hindered: World) -> None:
    """Nothing is judged, or put on the record, a second time."""
    hindered.ask(typed, "U3")
    hindered.work_once()
    trail = hindered.trail()
    assert (hindered.said, hindered.states(), hindered.open_commands()) == ([], ["refused"], 1)
    hindered.work(10)
    assert len(hindered.said) == 1
    assert (hindered.states(), hindered.open_commands(), hindered.trail()) == (["refused"], 0, trail)


def test_what_somebody_else_did_is_told_later_though_it_could_be_done_by_then(world: World) -> None:
    """The second of two presses is told who was faster; it never becomes a press of its own."""
    key = world.builds.start()
    world.builds.finish(key)
    world.ask(f"retry {key.short}")
    world.work(5)
    world.responder.fails = [RateLimited("slack", "rate_limited", 60.0)]
    world.ask(f"retry {key.short}", "U2")
    world.work(5)
    with world.database.begin() as connection:
        connection.execute(commands.update().values(effect_key=None))  # as if it could be done again
    world.work(60)
    assert world.said[-1].startswith("U1 has done this already")
    assert len(world.builds.requests) == 1


def test_news_of_a_build_that_waits_is_news_until_it_is_told(hindered: World) -> None:
    """Its request stands in a queue; the words that say so were not taken, and come a moment later."""
    key = hindered.builds.start()
    hindered.builds.finish(key)
    hindered.builds.queues = True
    hindered.ask(f"retry {key.short}")
    hindered.work(30)
    assert len(hindered.said) == 1
    assert len(hindered.builds.requests) == 1


def test_a_secret_is_made_anew_instead_of_kept(world: World) -> None:
    """The code that could not be whispered is nowhere, and no good; the next one is."""
    world.responder.fails = [RateLimited("slack", "rate_limited", 7.0)]
    world.ask("link")
    world.work_once()
    with world.database.connect() as connection:
        stored = connection.scalar(select(commands.c.result))
    assert set(stored) == {"owed"}
    assert set(stored["owed"]) == {"anew", "since", "tries", "unsure"}
    world.work(10)
    assert (world.responder.whispers, world.states(), world.open_commands()) == (1, ["done"], 0)


def test_a_worker_that_dies_leaves_the_words_to_the_next(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was put off is said by whoever is there when it is due, however often somebody dies over it."""
    key = world.builds.start()
    world.builds.finish(key)
    world.responder.fails = [RateLimited("slack", "rate_limited", 20.0)]
    world.ask(f"retry {key.short}")
    world.work(10)

    class Died(BaseException):
        """The worker is no more."""

    def die(_responder: object, _reply_to: ReplyTo, _content: object, _actor: Actor) -> None:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(type(world.responder), "respond", die)
        world.clock.advance(15)
        for record in world.take():
            with pytest.raises(Died):
                world.worker.carry_out(record)
    world.work(STEP_S + 1)
    assert (world.said, world.open_commands()) == (["Started build user-service#2"], 0)
    assert len(world.builds.requests) == 1


def test_pauses_grow_and_end_with_the_life_of_the_question(world: World) -> None:
    """A platform that stays away is asked less and less; after an hour the answer is given up, logged and counted."""
    given_up, put_off = counted("given_up"), counted("put_off")
    world.responder.fails = [Unavailable("slack", "unreachable") for _ in range(200)]
    world.ask("help")
    world.work(LIFE_S + 120)
    tries = 200 - len(world.responder.fails)
    assert 55 < tries < 75
    assert (counted("given_up") - given_up, counted("put_off") - put_off) == (1, tries - 1)
    assert (world.said, world.states(), world.open_commands()) == ([], ["done"], 0)


@pytest.mark.parametrize(
    "problem", [AuthFailed("slack", "token_revoked"), RateLimited("slack", "rate_limited", LIFE_S + 1)]
)
def test_what_waiting_does_not_help_is_given_up_at_once(problem: IntegrationError, world: World) -> None:
    """Nobody takes the words, or nobody waits for them any more when they would be taken."""
    given_up = counted("given_up")
    world.responder.fails = [problem]
    world.ask("help")
    world.work(2 * LIFE_S)
    assert (world.said, world.open_commands(), counted("given_up") - given_up) == ([], 0, 1)


@pytest.mark.parametrize(("times", "said"), [(1, 1), (2, 0)])
def test_an_answer_in_doubt_is_given_once_more(times: int, said: int, world: World) -> None:
    """Whoever may have seen it twice is left in peace."""
    world.responder.fails = [OutcomeUnknown("slack", "timeout") for _ in range(times)]
    world.ask("help")
    world.work(60)
    assert (len(world.said), world.open_commands()) == (said, 0)


CONTENTS = {**cards(), **notices()}


@pytest.mark.parametrize("case", sorted(CONTENTS))
def test_words_come_back_as_they_were(case: str) -> None:
    """Every kind of card survives being kept as JSON."""
    kept = json.loads(json.dumps(content_to_json(CONTENTS[case])))
    assert content_from_json(kept) == CONTENTS[case]
