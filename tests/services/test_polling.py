"""Asking a tracker what changed, where it tells nothing by itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from bot.domain.issues import ChangeKind, Release
from bot.errors import Unavailable
from bot.services.tracking import Taken
from tests.fakes import EPOCH
from tests.services.tracker_world import TRIGGER, TrackerWorld, moved, released
from tests.stores import SqlStore

VERSION = replace(TRIGGER, kind=ChangeKind.VERSION_RELEASED, value=".*", version="{{version}}")


@pytest.fixture
def world(store: SqlStore, database: Engine) -> TrackerWorld:
    """A tracker that is polled."""
    return TrackerWorld(store, database, triggers=(TRIGGER, VERSION))


def test_what_was_before_the_first_poll_starts_nothing(world: TrackerWorld) -> None:
    """Issues and versions that stand there already are no news."""
    world.tracker.changed = [moved(), released()]
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
    world.tracker.changed = [moved(at=30), released()]
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
    world.tracker.changed = [moved(at=3600), released()]
    assert world.poller.poll("jira") == 0
    assert world.tracker.asked_since[-1] == EPOCH + timedelta(days=2)
    world.clock.advance(60)
    assert world.poller.poll("jira") == 0
    assert world.poller.poll("nobody") == 0
