"""Asking a tracker what changed, where it tells nothing by itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event

from bot.domain.issues import ChangeKind, Release
from bot.domain.triggers import Trigger
from bot.errors import Unavailable
from bot.services.tracking import Taken
from tests.fakes import EPOCH
from tests.services.tracker_world import TRIGGER, TrackerWorld, moved, released
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

VERSION = replace(TRIGGER, kind=ChangeKind.VERSION_RELEASED, value=".*", version="{{version}}")


@pytest.fixture
def world(store: SqlStore, database: Engine) -> TrackerWorld:
    """A tracker that is polled."""
    return TrackerWorld(store, database, triggers=(TRIGGER, VERSION))


def test_what_was_before_the_first_poll_starts_nothing(world: TrackerWorld) -> None:
    """Issues and versions that stand there already are no news."""
    world.tracker.changed = [moved(), released(project="USER")]
    world.tracker.versions = [Release("7", "1.4.2", "USER")]
    world.clock.advance(60)
    assert world.poller.poll("jira") == 0
    world.clock.advance(60)
    assert world.poller.poll("jira") == 0
    world.work()
    assert world.deployments.fired == []


def test_what_comes_afterwards_is_found_once(world: TrackerWorld) -> None:
    """Polls overlap, because a tracker's search is slow; a change is known again by its key."""
    world.poller.poll("jira")
    world.tracker.changed = [moved(at=30), released(project="USER")]
    world.tracker.versions = [Release("7", "1.4.2", "USER")]
    polled = []
    for _ in range(3):
        world.clock.advance(60)
        polled.append(world.poller.poll("jira"))
        world.work()
    assert polled == [2, 0, 0]
    assert sorted(firing.version for firing in world.deployments.fired) == ["1.4.2", "1.4.2"]


def test_a_poll_and_a_webhook_are_one(world: TrackerWorld) -> None:
    """Whichever comes first."""
    world.poller.poll("jira")
    world.tracker.changed = [moved(at=30)]
    world.clock.advance(60)
    assert world.hear(moved(at=30)) == [Taken.ACCEPTED]
    assert world.poller.poll("jira") == 0
    world.work()
    assert len(world.deployments.fired) == 1


def test_polls_overlap_and_never_reach_back_behind_the_first(world: TrackerWorld) -> None:
    """Five minutes, but for the first ones."""
    world.poller.poll("jira")
    world.clock.advance(60)
    world.poller.poll("jira")
    world.clock.advance(3600)
    world.poller.poll("jira")
    world.clock.advance(3600)
    world.poller.poll("jira")
    offsets = [(since - EPOCH).total_seconds() for since in world.tracker.asked_since]
    assert offsets == [0, 0, 0, 3360]


def test_a_poll_that_failed_is_made_up_for(world: TrackerWorld) -> None:
    """The next one asks from where the last good one ended."""
    world.poller.poll("jira")
    world.clock.advance(3600)
    world.tracker.fails = [Unavailable("jira", "unreachable")]
    with pytest.raises(Unavailable):
        world.poller.poll("jira")
    world.tracker.changed = [moved(at=1800)]
    world.clock.advance(60)
    assert world.poller.poll("jira") == 1


def test_after_a_day_away_it_begins_anew(world: TrackerWorld) -> None:
    """What was moved the day before yesterday is not deployed now."""
    world.poller.poll("jira")
    world.clock.advance(2 * 86_400)
    world.tracker.changed = [moved(at=3600), released(project="USER")]
    assert world.poller.poll("jira") == 0
    assert world.tracker.asked_since[-1] == EPOCH + timedelta(days=2)
    world.clock.advance(60)
    assert world.poller.poll("jira") == 0
    assert world.poller.poll("nobody") == 0


def tell_releases(world: TrackerWorld, *names: str, project: str = "USER") -> None:
    """What each poll tells of versions: all that are released, as of now."""
    world.clock.advance(60)
    at = (world.clock.now() - EPOCH).total_seconds()
    world.tracker.versions = [Release(name, name, project) for name in names]
    world.tracker.changed = [released(name, number=name, at=at, project=project) for name in names]


def changed_file(world: TrackerWorld, *triggers: Trigger, **changed: Any) -> TrackerWorld:
    """The same database and tracker, after a restart with another file."""
    return replace(world, triggers=triggers, **changed)


def polled(world: TrackerWorld) -> list[str]:
    """The versions that a poll starts."""
    before = len(world.deployments.fired)
    world.poller.poll("jira")
    world.work()
    return [firing.version for firing in world.deployments.fired[before:]]


@pytest.mark.parametrize(
    ("before", "told"),
    [((TRIGGER,), ()), ((TRIGGER, replace(VERSION, value="web-.*")), ("1.0", "1.1"))],
    ids=["added", "widened"],
)
def test_a_trigger_that_comes_later_finds_no_news_in_old_versions(
    store: SqlStore, database: Engine, before: tuple[Trigger, ...], told: tuple[str, ...]
) -> None:
    """Only what is released from then on starts something, though each poll tells of all as of now."""
    world = TrackerWorld(store, database, triggers=before)
    for names in ((), told, told):
        tell_releases(world, *names)
        assert polled(world) == []
    world = changed_file(world, TRIGGER, VERSION)
    tell_releases(world, "1.0", "1.1")
    assert polled(world) == []
    tell_releases(world, "1.0", "1.1", "1.2")
    assert polled(world) == ["1.2"]


def test_what_is_released_while_the_bot_is_upgraded_starts_once(store: SqlStore, database: Engine) -> None:
    """The first poll afterwards tells it, whatever the last one before could not know of."""
    world = TrackerWorld(store, database, triggers=(VERSION,))
    tell_releases(world, "1.0")
    assert polled(world) == []
    world.clock.advance(3600)
    world = changed_file(world, VERSION)
    for started in (["1.1"], []):
        tell_releases(world, "1.0", "1.1")
        assert polled(world) == started


def test_a_project_that_comes_later_begins_with_what_it_has(store: SqlStore, database: Engine) -> None:
    """Also one without any version yet: its first one is news."""
    world = TrackerWorld(store, database, triggers=(VERSION,))
    tell_releases(world)
    assert polled(world) == []
    tell_releases(world, "1.0")
    assert polled(world) == ["1.0"]
    world = changed_file(world, VERSION, projects=("USER", "PAY"))
    tell_releases(world, "p1", "p2", project="PAY")
    assert polled(world) == []
    tell_releases(world, "p1", "p2", "p3", project="PAY")
    assert polled(world) == ["p3"]


def test_what_was_released_without_a_trigger_starts_nothing_when_it_is_back(world: TrackerWorld) -> None:
    """A trigger that was taken out for a while begins anew."""
    tell_releases(world)
    polled(world)
    without = changed_file(world, TRIGGER)
    without.clock.advance(60)
    without.tracker.changed = []
    polled(without)
    world = changed_file(without, TRIGGER, VERSION)
    tell_releases(world, "1.0")
    assert polled(world) == []


def test_another_address_is_another_tracker(world: TrackerWorld) -> None:
    """A Jira that moved gives its versions other ids."""
    tell_releases(world, "1.0")
    polled(world)
    moved_away = changed_file(world, TRIGGER, VERSION, url="https://jira.example.com")
    tell_releases(moved_away, "new-1.0")
    assert polled(moved_away) == []


def test_known_versions_cost_a_poll_no_insert(world: TrackerWorld, database: Engine) -> None:
    """A thousand of them, every fifteen seconds; here a few less."""
    names = [f"1.{number}" for number in range(200)]
    tell_releases(world, *names)
    polled(world)
    said: list[str] = []

    def note(*given: Any) -> None:
        said.append(given[2])

    event.listen(database, "before_cursor_execute", note)
    world.poller.poll("jira")
    event.remove(database, "before_cursor_execute", note)
    assert [statement for statement in said if "INSERT INTO tracker_tasks" in statement] == []
    assert 0 < len(said) < 30
