"""A run that was asked for: followed until its source says what became of it, and never asked for twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bot.domain.subjects import SubjectKey
from bot.errors import AuthFailed, DestinationGone, Rejected, Unavailable
from tests.build_fakes import FakeBuildSystem
from tests.services.world import World

pytestmark = pytest.mark.one_engine

Refuse = Callable[[Exception | None], None]
QUEUED = "A build of user-service is queued and starts when a worker is free."

TOLD_SECOND = (
    "U1 has asked for this, and buildbot has not told yet what came of it. I keep looking, and start nothing meanwhile."
)


@pytest.fixture
def queued(world: World) -> World:
    """A failed build whose retry was asked for and waits in the CI's queue."""
    key = world.builds.start()
    world.builds.finish(key)
    world.accept(world.builds.fetch(key, with_log=False))
    world.builds.queues = True
    world.ask("retry user-service#1")
    world.work()
    return world


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Refuse:
    """Lets the CI answer each question about a request with an error, until None."""
    told: list[Exception | None] = [None]
    follow = FakeBuildSystem.follow

    def follow_or_refuse(self: FakeBuildSystem, project: str, request: str, **named: str) -> SubjectKey | None:
        if told[-1] is not None:
            raise told[-1]
        return follow(self, project, request, **named)

    monkeypatch.setattr(FakeBuildSystem, "follow", follow_or_refuse)
    return told.append


def test_a_queued_run_is_waited_for_through_an_outage(queued: World) -> None:
    """While the run waits for a worker, and the CI stumbles, nothing is given up; its number is told in the end."""
    queued.work(6)
    assert queued.said == [QUEUED]
    queued.builds.away = {"follow"}
    queued.directory.fails = [Unavailable("slack", "down")]
    queued.work(60)
    queued.builds.away = set()
    queued.builds.begin_queued()
    queued.work(10)
    assert queued.said[1:] == ["Started build user-service#2"]
    assert len(queued.builds.requests) == 1


@pytest.mark.parametrize(
    "error",
    [
        AuthFailed("buildbot", "http_401"),
        Rejected("buildbot", "http_403"),
        DestinationGone("buildbot", "unknown_project"),
        DestinationGone("buildbot", "not_found"),
    ],
    ids=lambda error: error.reason,
)
def test_a_source_that_does_not_tell_starts_no_second_run(error: Exception, queued: World, refuse: Refuse) -> None:
    """A refusal to tell is no word on the request: the person is told once, a second press starts nothing."""
    refuse(error)
    queued.work(30)
    queued.ask("retry user-service#1", "U2")
    queued.work(600)
    assert [words.partition(",")[0] for words in queued.said] == [
        "buildbot took my request for a build of user-service",
        "U1 has done this already",
    ]
    refuse(None)
    queued.builds.begin_queued()
    queued.work(10)
    assert queued.said[-1] == "Started build user-service#2"
    assert len(queued.builds.requests) == 1
    assert queued.open_commands() == 0


@pytest.mark.parametrize("reason", ["request_cancelled", "request_superseded", "request_gone"])
def test_a_request_that_is_over_may_be_made_anew(reason: str, queued: World, refuse: Refuse) -> None:
    """When the CI says that the request ended without a build, the person is told, on the record, and may ask again."""
    refuse(DestinationGone("buildbot", reason))
    queued.work(10)
    assert "request" in queued.said[-1]
    assert queued.trail()[-1][2:] == ("build:buildbot/user-service#1", f"failed:{reason}")
    assert queued.states() == ["failed"]
    refuse(None)
    queued.builds.queues = False
    queued.ask("retry user-service#1", "U2")
    queued.work(5)
    assert queued.said[-1].startswith("Started build")


def test_a_request_that_waits_for_hours_is_still_the_only_one(queued: World) -> None:
    """After an hour the person is told that it still waits; a second press adds none, and its number is told."""
    queued.work(10)
    queued.clock.advance(3 * 3600)
    queued.work(120)
    queued.ask("retry user-service#1", "U2")
    queued.work(600)
    assert queued.said == [
        QUEUED,
        "The build of user-service still waits for a worker. It can be cancelled in buildbot; I keep looking.",
        "U1 has done this already",
    ]
    queued.builds.begin_queued()
    queued.work(120)
    assert queued.said[-1] == "Started build user-service#2"
    assert len(queued.builds.requests) == 1


def test_a_request_that_nothing_is_heard_of_is_left_in_doubt(queued: World) -> None:
    """After a week it is no longer looked at; it may still start, so that a second press only looks on."""
    queued.builds.away = {"follow"}
    queued.clock.advance(7 * 86400)
    queued.work(60)
    assert queued.said[-1] == "I have heard nothing of the build of user-service for a week. Please look in buildbot."
    assert queued.trail()[-1][2:] == ("build:buildbot/user-service#1", "in_doubt:never_started")
    assert (queued.states(), queued.open_commands()) == (["in_doubt"], 0)
    queued.ask("retry user-service#1", "U2")
    queued.work(30)
    assert queued.said[1:] == [
        "I have heard nothing of the build of user-service for a week. Please look in buildbot.",
        TOLD_SECOND,
    ]
    queued.builds.away = set()
    queued.builds.begin_queued()
    queued.work(10)
    assert queued.said[-1] == "U1 has done this already → user-service#2"
    assert len(queued.builds.requests) == 1
    assert queued.states() == ["in_doubt", "done"]


def test_a_request_that_was_dropped_during_a_long_silence_may_be_made_anew(queued: World, refuse: Refuse) -> None:
    """Whoever presses after the week hears what became of the first request, and may then press again."""
    queued.builds.away = {"follow"}
    queued.clock.advance(7 * 86400)
    queued.work(60)
    queued.builds.away = set()
    refuse(DestinationGone("buildbot", "request_cancelled"))
    queued.ask("retry user-service#1", "U2")
    queued.work(5)
    assert queued.said[-1] == "The request was cancelled in buildbot before a build began."
    refuse(None)
    queued.builds.queues = False
    queued.ask("retry user-service#1", "U2")
    queued.work(5)
    assert queued.said[-1].startswith("Started build")
    assert len(queued.builds.requests) == 2
