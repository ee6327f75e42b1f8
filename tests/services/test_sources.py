"""Which source has the project that people mean, also where only the source itself knows its projects."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bot.domain.builds import BuildStatus
from bot.ports import PersonFacts
from tests.services.world import World
from tests.stores import event_of

pytestmark = pytest.mark.one_engine


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """A world whose configuration names no projects of the CI system, with a failed build that nobody heard of."""
    world = make_world(names_no_projects=True, routes=())
    world.directory.people["U6"] = PersonFacts("Lead", "lead@example.com", is_outsider=False)
    world.builds.finish(world.builds.start())
    return world


def test_a_run_of_a_project_that_only_the_source_knows(world: World) -> None:
    """Without configured projects `run` asks the source for what is typed."""
    world.ask("run user-service")
    world.ask("run buildbot/user-service")
    world.work(5)
    assert sorted(world.said) == ["Started build user-service#2", "Started build user-service#3"]


def test_a_build_older_than_the_database_is_found(world: World) -> None:
    """A build that was never heard of is looked up, and can be acted on."""
    for typed in ("show user-service#1", "log user-service#1", "builds user-service", "retry user-service#1"):
        world.ask(typed)
        world.work(5)
    assert world.said == [
        "user-service #1 · failed",
        "Log of user-service#1",
        "Newest builds of user-service",
        "Started build user-service#2",
    ]


def test_a_project_that_the_configuration_names_is_meant_first(world: World) -> None:
    """A name that another source is configured for is not looked for where it only might be."""
    world.ask("run billing")
    world.work(5)
    assert world.said[0].startswith("This source only tells me things")


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("run user-absent", "This project is not configured for buildbot (any more)."),
        ("show user-absent#1", "I know no such build. user-absent#1 · /ship help"),
        ("run a/b", "I know no project of that name. · /ship help"),
        ("subscribe user-absent", "I know no project of that name. · /ship help"),
    ],
)
def test_what_the_source_does_not_know_is_said(typed: str, answer: str, world: World) -> None:
    """A project that there is not is no surprise later: the source is asked before anything is promised."""
    world.ask(typed, "U6")
    world.work(5)
    assert world.said == [answer]
    assert world.builds.requests == []


def test_a_project_known_from_another_source_is_listed(world: World) -> None:
    """What a source without an interface told is not looked for at the one that might have it."""
    world.accept(event_of(3, BuildStatus.SUCCESS, project="shop", source="generic"))
    world.ask("builds shop")
    world.work(5)
    assert "shop#3" in str(world.card_answer())
    world.ask("show shop#4")
    world.work(5)
    assert world.said[-1] == "I know no such build. shop#4 · /ship help"


def test_a_subscription_to_a_project_that_the_source_knows(world: World) -> None:
    """A project without any build heard of can be subscribed to."""
    world.ask("subscribe user-service", "U6")
    world.work(5)
    assert world.said == ["Cards of user-service come here from now on."]
