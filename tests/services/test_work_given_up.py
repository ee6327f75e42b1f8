"""Work that is given up, other than cards, is told to those who run Shipmate: once a cause and hour."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bot.domain.builds import BuildStatus
from bot.domain.places import DestinationSettings
from bot.domain.routing import Match, Route
from bot.errors import DestinationGone, Unavailable
from bot.ports.tracking import TrackerTask
from bot.services.dead_letters import DeadLetters, Work
from bot.services.owed import LIFE_S
from bot.services.telling import Teller
from bot.services.tracking import TrackerWorker
from tests.services.world import World

ADMIN = "slack:T/ops"
PLACES = {"ci": DestinationSettings("ci", "slack:#ci"), "ops": DestinationSettings("ops", "slack:#ops")}


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """A world whose #ops is told."""
    return make_world(destinations=PLACES, admin="ops", readable=frozenset({"buildbot"}))


def told(world: World) -> list[str]:
    """What stands at the admin's place."""
    world.deliver(60)
    return world.messenger.standing(ADMIN)


def test_answers_that_were_given_up(world: World) -> None:
    """Two people's, of one cause: one notice names both."""
    world.responder.fails = [Unavailable("slack", "unreachable") for _ in range(500)]
    world.ask("help", "U1")
    world.ask("help", "U2")
    world.work(LIFE_S + 60)
    assert told(world) == [
        (
            "Given up · answer to a person · slack:U1, slack:U2 (slack) · It is not tried again by itself; "
            "the log says more. · failed:unreachable"
        )
    ]


def test_an_answer_to_nobody_is_nobodys_fault(world: World) -> None:
    """Whoever cannot be written to is no matter of the admin's."""
    world.responder.fails = [DestinationGone("slack", "channel_not_found")]
    world.ask("help")
    world.work(5)
    assert told(world) == []


def test_a_command_that_comes_to_no_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of ours, in each of its tries; what was typed is not told, for it may be a code."""

    def fail(*_arguments: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(world.worker._acting, "step", fail)
    world.ask("link ABCD-EFGH")
    world.work(600)
    (notice,) = told(world)
    assert notice.startswith("Given up · command · link (slack:U1) (slack) · ")


def test_a_build_that_cannot_be_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its source stays away for all tries."""
    key = world.builds.start()
    world.builds.finish(key, BuildStatus.SUCCESS)
    world.accept(world.builds.fetch(key, with_log=False))

    def fail(*_arguments: object, **_named: object) -> None:
        raise Unavailable("buildbot", "unreachable")

    monkeypatch.setattr(type(world.builds), "fetch", fail)
    world.enrich(7200)
    assert [notice for notice in told(world) if "Given up" in notice] == [
        (
            "Given up · reading a build · user-service#1 (buildbot) · It is not tried again by itself; "
            "the log says more. · failed:unreachable"
        )
    ]


def test_what_a_tracker_was_not_told(world: World) -> None:
    """All tries ended in a mistake."""
    letters = DeadLetters(PLACES["ops"])
    house = world.trackers
    worker = TrackerWorker(
        world.store,
        world.clock,
        house.trackers,
        lambda *_arguments: None,  # type: ignore[arg-type] # nothing is triggered
        Teller(world.store, world.clock),
        house._signal,
        letters=letters,
    )
    now = world.clock.now().timestamp()
    world.store.write(lambda tx: tx.tracker_tasks.add("jira", "tell:one", "tell", {}, due_at=now, at=now))
    for _ in range(8):
        task: TrackerTask
        for task in worker.claim(4):
            worker.put_off(task)
        world.clock.advance(400)
    assert [notice.partition(" (jira)")[0] for notice in told(world)] == ["Given up · work with a tracker · tell:one"]


def test_without_an_admin_nobody_is_told(make_world: Callable[..., World]) -> None:
    """It is logged and counted all the same."""
    world = make_world(destinations=PLACES, routes=[Route("routes[0]", Match(), ("ci",))])
    now = world.clock.now().timestamp()
    world.store.write(lambda tx: DeadLetters().announce_work(tx, Work.JOB, "buildbot", "user-service#1", "other", now))
    assert told(world) == []
