"""What trackers tell starts deployments: each change once, and only while it is true."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from bot.domain.issues import ChangeKind, IssueChange, Release
from bot.errors import AuthFailed, CommandInvalid, Conflict, Rejected, Unavailable
from bot.services.tracking import Taken
from tests.services.tracker_world import ISSUE, TRIGGER, TrackerWorld, moved, released
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

VERSION = replace(
    TRIGGER, kind=ChangeKind.VERSION_RELEASED, value=r"\d+\.\d+\.\d+", version="{{version}}", projects=("USER",)
)
Make = Callable[..., TrackerWorld]


@pytest.fixture
def make(store: SqlStore, database: Engine) -> Make:
    """Make a world with triggers of its own."""
    return lambda **wishes: TrackerWorld(store, database, **wishes)


@pytest.fixture
def world(make: Make) -> TrackerWorld:
    """One trigger: Ready means staging."""
    return make()


def test_a_change_starts_a_deployment(world: TrackerWorld) -> None:
    """Stored first, then acted on, with who moved the issue on the trail."""
    assert world.hear(moved()) == [Taken.ACCEPTED]
    assert world.deployments.fired == []
    world.work()
    [firing] = world.deployments.fired
    assert (firing.trigger.service, firing.trigger.environment, firing.version) == ("user-service", "staging", "1.4.2")
    assert world.trail() == [("jira:5b10", "USER-12 → user-service 1.4.2 → staging", "accepted:1")]
    assert world.outcomes() == ["done"]


def test_a_change_told_twice_starts_one(world: TrackerWorld) -> None:
    """At once, while it waits, and long after it was done."""
    assert world.hear(moved(), moved()) == [Taken.ACCEPTED, Taken.DUPLICATE]
    world.work()
    world.clock.advance(1800)
    assert world.hear(moved()) == [Taken.DUPLICATE]
    world.work()
    assert len(world.deployments.fired) == 1


def later(key: str = "changelog:2:status") -> IssueChange:
    """The same status, reached once more a minute later."""
    first = moved()
    return replace(first, key=key, occurred_at=first.occurred_at + timedelta(minutes=1))


def test_a_status_reached_again_starts_another(world: TrackerWorld) -> None:
    """It is another change, and deployed again."""
    world.hear(moved())
    world.work()
    world.hear(later())
    world.work()
    assert len(world.deployments.fired) == 2


def test_a_status_left_and_reached_again_before_anybody_looked_starts_one(world: TrackerWorld) -> None:
    """Ready, To Do, Ready: the last time counts, and the trail says what became of the first."""
    world.hear(moved(), later())
    world.work()
    [firing] = world.deployments.fired
    assert firing.change.key == "changelog:2:status"
    assert "dropped:told_anew" in world.outcomes()


def test_a_first_webhook_that_comes_last_starts_nothing(world: TrackerWorld) -> None:
    """The second one was acted on: the issue stands as the first one says, but because of the second."""
    world.hear(later())
    world.work()
    world.hear(moved())
    world.work()
    assert len(world.deployments.fired) == 1
    assert world.trail()[-1] == ("jira:5b10", "USER-12", "dropped:told_anew")


def test_an_issue_that_moved_on_starts_nothing(world: TrackerWorld) -> None:
    """A late webhook: the issue is looked at, not what was told of it."""
    world.tracker.issues["USER-12"] = replace(ISSUE, status="Done")
    world.hear(moved())
    world.work()
    assert world.deployments.fired == []
    assert world.trail() == [("jira:5b10", "USER-12", "dropped:status_moved_on")]
    assert world.tracker.calls == []


def test_what_the_issue_says_now_counts(world: TrackerWorld) -> None:
    """Its fix version may have been corrected since."""
    world.tracker.issues["USER-12"] = replace(ISSUE, fix_versions=("1.4.3",))
    world.hear(moved())
    world.work()
    assert world.deployments.fired[0].version == "1.4.3"


def test_an_issue_that_is_gone_starts_nothing(world: TrackerWorld) -> None:
    """Deleted, or moved out of sight."""
    world.tracker.issues.clear()
    world.hear(moved())
    world.work()
    assert world.outcomes() == ["dropped:issue_gone"]


def test_changes_that_no_trigger_wants_are_not_kept(world: TrackerWorld) -> None:
    """Most of what trackers tell; and what is older than a day."""
    assert world.hear(moved("In Progress")) == [Taken.IGNORED]
    world.clock.advance(86_401)
    assert world.hear(moved()) == [Taken.IGNORED]
    assert world.hear() == []
    assert world.outcomes() == []


def test_a_tracker_that_is_away_is_asked_again(world: TrackerWorld) -> None:
    """Also while it refuses our credential, which somebody may put right; for a day."""
    world.tracker.fails = [Unavailable("jira", "unreachable"), AuthFailed("jira", "http_401")]
    world.hear(moved())
    world.work(10)
    assert len(world.deployments.fired) == 1
    world.tracker.fails = [AuthFailed("jira", "http_401")] * 1000
    world.hear(moved(key="changelog:2:status"))
    world.work(90_000)
    assert world.outcomes() == ["done", "failed:http_401"]
    assert len(world.deployments.fired) == 1


def test_a_ci_system_that_is_away_is_asked_again(world: TrackerWorld) -> None:
    """What would be deployed is looked up there; nothing is fired before."""
    world.deployments.fails = [Unavailable("buildbot", "unreachable")]
    world.hear(moved())
    world.work()
    assert world.deployments.fired == []
    world.work(10)
    assert len(world.deployments.fired) == 1


def test_a_change_that_waited_a_day_is_too_old(world: TrackerWorld) -> None:
    """Nobody expects a deployment of something moved the day before."""
    world.hear(moved())
    world.clock.advance(86_401)
    world.work()
    assert world.outcomes() == ["dropped:too_old"]
    assert world.deployments.fired == []


@pytest.mark.parametrize(
    ("problem", "outcome", "words"),
    [
        (CommandInvalid("unknown_version", "user-service#9"), "refused:unknown_version", "no such version"),
        (
            Conflict("{version} has to succeed in {environment} first.", version="1", environment="qa"),
            "refused",
            "in qa",
        ),
    ],
)
def test_a_refusal_is_written_to_the_issue(make: Make, problem: Exception, outcome: str, words: str) -> None:
    """In a comment with the reason, once; and nothing is tried again."""
    world = make()
    world.deployments.refuses = problem
    world.hear(moved())
    world.work()
    [(what, issue, said)] = world.tracker.calls
    assert (what, issue) == ("comment", "USER-12")
    assert words in said
    assert "I do not deploy user-service 1.4.2 to staging." in said
    assert world.trail()[0][2].startswith(outcome)
    world.work(90_000)
    assert len(world.tracker.calls) == 1


def test_a_refusal_while_looking_up_is_no_less_one(world: TrackerWorld) -> None:
    """Before anything is asked for, or by another system for good."""
    world.deployments.fails = [CommandInvalid("unknown_service"), Rejected("buildbot", "refused")]
    world.hear(moved(), moved(key="changelog:2:status"))
    world.work()
    assert [outcome for _, _, outcome in world.trail()] == ["refused:unknown_service", "refused"]
    assert len([call for call in world.tracker.calls if call[0] == "comment"]) == 2


@pytest.mark.parametrize(
    ("versions", "reason", "words"),
    [((), "no_fix_version", "names no fix version"), (("1", "2"), "several_fix_versions", "several fix versions")],
)
def test_an_issue_without_a_version_is_told_so(
    world: TrackerWorld, versions: tuple[str, ...], reason: str, words: str
) -> None:
    """Nothing is guessed."""
    world.tracker.issues["USER-12"] = replace(ISSUE, fix_versions=versions)
    world.hear(moved())
    world.work()
    assert world.deployments.fired == []
    assert words in world.tracker.calls[0][2]
    assert world.trail()[0][2] == reason


def test_a_dry_run_says_what_it_would_do(make: Make) -> None:
    """In the language of the tracker, without doing it."""
    world = make(triggers=(replace(TRIGGER, is_dry_run=True),), locale="zh-CN")
    world.hear(moved())
    world.work()
    assert world.deployments.fired == []
    assert world.trail()[0][2] == "dry_run"
    said = world.tracker.calls[0][2]
    assert "演练" in said
    assert "1.4.2 (3f2a9c1d)" in said
    assert "Somebody must approve." in said


def test_a_dry_run_says_what_would_be_refused(make: Make) -> None:
    """A version that nobody knows would not be deployed: it is looked up as in earnest."""
    world = make(triggers=(replace(TRIGGER, is_dry_run=True),))
    world.deployments.refuses = CommandInvalid("unknown_version", "user-service#9")
    world.hear(moved())
    world.work()
    assert world.trail()[0][2] == "dry_run_refused:unknown_version"
    assert "I would not deploy user-service 1.4.2 to staging." in world.tracker.calls[0][2]
    assert "no such version" in world.tracker.calls[0][2]


def test_a_silent_trigger_writes_nothing(make: Make) -> None:
    """Where comments are switched off, the trail still knows."""
    world = make(triggers=(replace(TRIGGER, is_dry_run=True, comments=False),))
    world.hear(moved())
    world.work()
    assert world.tracker.calls == []
    assert world.trail()[0][2] == "dry_run"


def test_one_change_may_start_several(make: Make) -> None:
    """Two environments, each with its own entry."""
    world = make(triggers=(TRIGGER, replace(TRIGGER, environment="qa", types=("Story",))))
    world.hear(moved())
    world.work()
    assert [firing.trigger.environment for firing in world.deployments.fired] == ["staging", "qa"]
    assert len(world.trail()) == 2


def test_a_version_starts_what_its_name_says(make: Make) -> None:
    """Its project is looked up, for the webhook does not tell it; a version of another project starts nothing."""
    world = make(triggers=(VERSION,))
    world.tracker.versions = [Release("7", "1.4.2", "USER"), Release("8", "1.4.3", "PAY")]
    assert world.hear(released(), released("1.4.3", number="8")) == [Taken.ACCEPTED, Taken.ACCEPTED]
    assert world.hear(released("not-a-version", number="9")) == [Taken.IGNORED]
    world.work()
    assert [firing.version for firing in world.deployments.fired] == ["1.4.2"]
    assert world.outcomes() == ["done", "dropped:no_trigger"]


@pytest.mark.parametrize(
    ("versions", "reason"),
    [
        ([], "dropped:version_gone"),
        ([Release("7", "1.4.2", "USER", is_released=False)], "dropped:version_not_released"),
    ],
)
def test_a_version_taken_back_starts_nothing(make: Make, versions: list[Release], reason: str) -> None:
    """Deleted or unreleased before it was acted on."""
    world = make(triggers=(VERSION,))
    world.tracker.versions = versions
    world.hear(released())
    world.work()
    assert world.outcomes() == [reason]
    assert world.deployments.fired == []


def test_a_worker_that_lost_its_lease_fires_nothing(world: TrackerWorld) -> None:
    """Two workers never act on one change: the second one's transaction finds the first one's."""
    world.hear(moved())
    [slow] = world.worker.claim(4)
    world.clock.advance(200)
    world.work()
    world.worker.carry_out(slow)
    assert len(world.deployments.fired) == 1
    assert len(world.trail()) == 1


def test_a_mistake_of_ours_ends_after_some_tries(world: TrackerWorld) -> None:
    """An error that nobody expected is counted, and does not come back for ever."""
    world.tracker.fails = [ZeroDivisionError()] * 20
    world.hear(moved())
    world.work(3600)
    assert world.outcomes() == ["failed:unexpected"]
    assert len(world.tracker.fails) == 12


def test_a_tracker_that_is_configured_no_more_is_forgotten(world: TrackerWorld) -> None:
    """Work of a tracker whose section was removed ends after a day: a process with a newer file may know it."""
    assert world.inbox.accept("other", [moved()]) == [Taken.IGNORED]
    at = world.clock.now().timestamp()
    world.store.write(lambda tx: tx.tracker_tasks.add("gone", "x", "status_reached", {}, due_at=at, at=at))
    world.work(23 * 3600)
    assert world.outcomes() == ["left:not_configured"]
    world.work(2 * 3600)
    assert world.outcomes() == ["dropped:not_configured"]
