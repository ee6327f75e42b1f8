"""A worker that dies between storing a command's end and saying it: the person hears of it all the same, once."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from bot.domain.commands import Actor, ReplyTo
from bot.errors import AuthFailed, Conflict, DestinationGone, OutcomeUnknown, Rejected, Unavailable
from bot.ports import PersonFacts, Triggered
from bot.services.steps import STEP_S
from bot.storage.tables import commands
from tests.services.world import World

pytestmark = pytest.mark.one_engine

GIVE_UP_S = 900.0
SECRET = "xoxb-123456789012-abcdefghijkl"


class Died(BaseException):
    """The worker is no more."""


def die_before_saying(world: World) -> None:
    """The next worker does its work and dies instead of answering."""

    def die(_reply_to: ReplyTo, _content: object, _actor: Actor) -> None:
        raise Died

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(world.responder), "respond", lambda _self, *arguments: die(*arguments))
        for record in world.take():
            with pytest.raises(Died):
                world.worker.carry_out(record)


PROBLEMS = {
    "conflict": (Conflict("That is not the newest attempt of this build. Its card shows that one."), "not the newest"),
    "rejected": (Rejected("buildbot", "forbidden", "read-only"), "buildbot refuses: read-only."),
    "credentials": (AuthFailed("buildbot", "http_401"), "refuses my credentials"),
    "gone": (DestinationGone("buildbot", "no_such_build"), "buildbot"),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_failure_is_said_by_whoever_takes_over(name: str, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end is on the record once; its effect is free; the sentence is the one that would have been said."""
    problem, words = PROBLEMS[name]
    key = world.builds.start()
    world.builds.finish(key)

    def refuse(*_arguments: object, **_named: object) -> Triggered:
        raise problem

    monkeypatch.setattr(type(world.builds), "retry", refuse)
    world.ask(f"retry {key.short}")
    die_before_saying(world)
    assert (world.said, world.states(), world.open_commands()) == ([], ["failed"], 1)
    trail = world.trail()
    world.work(STEP_S - 1)
    assert world.said == []
    world.work(2)
    assert len(world.said) == 1
    assert words in world.said[0]
    assert (world.states(), world.open_commands(), world.trail()) == (["failed"], 0, trail)
    monkeypatch.undo()
    world.ask(f"retry {key.short}")
    world.work(5)
    assert len(world.builds.requests) == 1


def test_a_source_that_stays_away_is_told_of(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tries are over, that is stored, the worker dies: whoever takes over says so."""
    key = world.builds.start()
    world.builds.finish(key)

    def refuse(*_arguments: object, **_named: object) -> Triggered:
        raise Unavailable("buildbot", "unreachable", f"token={SECRET}")

    monkeypatch.setattr(type(world.builds), "retry", refuse)
    world.ask(f"retry {key.short}")
    for _ in range(3):
        world.work_once()
        world.clock.advance(10)
    die_before_saying(world)
    with world.database.connect() as connection:
        assert SECRET not in str(connection.scalar(select(commands.c.result)))
    world.work(STEP_S + 1)
    assert (world.said, world.open_commands()) == (
        ["buildbot cannot be reached at the moment. Please try again in a minute."],
        0,
    )


def test_a_doubt_that_never_ends_is_said_by_whoever_takes_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its source was asked for long; the end of that is told, though the first who came to it died."""
    monkeypatch.setattr("bot.services.checking.GIVE_UP_S", GIVE_UP_S)
    key = world.builds.start()
    world.builds.finish(key)

    def lose(*_arguments: object, **_named: object) -> Triggered:
        raise OutcomeUnknown("buildbot", "timeout")

    monkeypatch.setattr(type(world.builds), "retry", lose)
    monkeypatch.setattr(type(world.builds), "find_run", _never)
    world.ask(f"retry {key.short}")
    world.work(GIVE_UP_S - 300)
    said = len(world.said)
    world.clock.advance(600)
    die_before_saying(world)
    assert (world.states(), len(world.said)) == (["in_doubt"], said)
    world.work(STEP_S + 1)
    assert (len(world.said), world.open_commands()) == (said + 1, 0)


def _never(*_arguments: object, **_named: object) -> None:
    raise Unavailable("buildbot", "unreachable")


@pytest.mark.parametrize("typed", ["mute user-service", "cancel {build}"])
def test_what_is_only_to_be_said_looks_nobody_up(typed: str, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was done and the worker died: nothing is judged any more, so neither people nor builds are asked for."""
    key = world.builds.start()
    world.directory.people["U9"] = PersonFacts("Lea", "lead@example.com", False)
    world.ask(typed.format(build=key.short), "U9")
    die_before_saying(world)
    assert world.states() == ["done"]
    looks = world.directory.looks
    monkeypatch.setattr(type(world.builds), "list_builds", _never)
    world.directory.fails += [Unavailable("slack", "unreachable")] * 9
    world.work(STEP_S + 1)
    assert (len(world.said), world.open_commands(), world.directory.looks) == (1, 0, looks)


def test_an_answer_that_is_given_later_calls_its_person_by_name(world: World) -> None:
    """A press tells no name: what was learned of its person holds for whoever takes the answer over."""
    world.directory.people["U1"] = PersonFacts("Ada", None, is_outsider=False)
    world.ask("whoami")
    world.work()
    key = world.builds.start()
    world.builds.finish(key)
    world.store.write(lambda tx: tx.accounts.note("slack:U1", "Ada", ""))
    world.ask(f"retry {key.short}")
    die_before_saying(world)
    world.work(STEP_S + 5)
    assert [actor.name for _, _, actor in world.responder.answers][-1] == "Ada"
