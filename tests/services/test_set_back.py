"""A clock that was set back while things were planned by it."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Double, Engine, event

from bot.domain.builds import BuildStatus
from bot.domain.checks import Verdict
from bot.domain.deployments import DeploymentState
from bot.domain.services import RollbackRule
from bot.errors import RateLimited, Unavailable
from bot.storage.set_back import HAPPENED, PLANNED, SetBack
from bot.storage.tables import metadata
from tests.services.deployment_world import Stage, a_stage
from tests.services.world import CI, World
from tests.stores import SqlStore, event_of

HOUR_S = 3600.0
SUCCESS = BuildStatus.SUCCESS
AS_IT_WAS = {
    "audit.at",  # sealed
    "budgets.per_s",
    "cards.opened_at",
    "deployments.ended_at",
    "deployments.requested_at",
    "events.occurred_at",  # others' times
    "locks.at",
    "rollback_locks.at",
    "subjects.ordered_at",
    "subjects.updated_at",
    "subscriptions.created_at",
    "tokens.expires_at",
    "tokens.lease_until",
    "tracker_tasks.created_at",
}


def set_back(world: World, by: float, *, idle_s: float = 0.0) -> SetBack:
    """A look before the clock is set back, and one after; `idle_s` after the last thing was stored."""
    looks = SetBack(world.database, world.clock, lambda: world.clock.now().timestamp() + passed[0])
    passed = [0.0]
    assert looks.look() == 0.0
    world.clock.advance(idle_s - by)
    passed[0] = by
    looks.look()
    return looks


def shown_after(world: World, seconds: float = 600.0) -> list[float]:
    """When, in seconds from now, calls are made to the channel."""
    began, before = world.clock.now(), len(world.messenger.calls)
    world.deliver(seconds)
    return [(call.at - began).total_seconds() for call in world.messenger.calls[before:]]


@pytest.mark.parametrize("idle_s", [0.0, 1800.0])
def test_an_hour_back_delays_no_card(idle_s: float, world: World) -> None:
    """The end of a build whose card stands, and the card of another one, come at once."""
    world.accept(event_of(12))
    world.deliver()
    set_back(world, HOUR_S, idle_s=idle_s)
    world.accept(event_of(12, SUCCESS, at=30), event_of(13, at=30))
    assert max(shown_after(world)) < 10.0
    assert len(world.messenger.standing(CI)) == 2


def test_it_is_noticed_after_a_restart_too(world: World) -> None:
    """That the clock was set back while nothing ran is told by what is stored."""
    world.accept(event_of(12))
    world.deliver()
    world.clock.advance(-HOUR_S)
    world.accept(event_of(13, at=30))
    assert shown_after(world) == []
    assert SetBack(world.database, world.clock).look() == pytest.approx(HOUR_S - 600, abs=60)  # it waited ten minutes
    assert max(shown_after(world)) < 10.0


@pytest.mark.parametrize("error", [RateLimited("slack", "rate_limited", 900.0), Unavailable("slack", "unreachable")])
def test_what_waits_goes_on_waiting_as_long_as_before(error: Exception, world: World) -> None:
    """A pause that the platform asked for is kept, and a try that failed is made again when it was due."""
    pause_s = getattr(error, "retry_after_s", None) or 1.0
    world.messenger.fail(CI, error)
    world.accept(event_of(12))
    world.deliver()
    set_back(world, HOUR_S)
    assert shown_after(world, HOUR_S)[0] == pytest.approx(pause_s, abs=1.0)


def test_a_lease_stays_with_its_holder(world: World) -> None:
    """A worker that has a card in hand settles it; nobody takes it over meanwhile."""
    world.accept(event_of(12))
    (work,) = world.claim()
    set_back(world, HOUR_S)
    assert world.claim() == []
    world.deliverer.carry_out(work)
    assert (world.card().reason, len(world.messenger.standing(CI))) == ("sent", 1)


def test_a_job_stays_with_its_holder(world: World) -> None:
    """What it was created at is turned back as well, and it is the same job still: it is not done once more."""
    now = world.clock.now().timestamp()
    world.accept(event_of(12))
    world.store.write(lambda tx: tx.jobs.add("a", "poll", "build:ci/a#1", {}, due_at=now, at=now))
    (job,) = (one for one in world.store.write(lambda tx: tx.jobs.lease(now, now + 30, 9)) if one.key == "a")
    set_back(world, HOUR_S)
    assert world.store.write(lambda tx: tx.jobs.settle(job, due_at=None))


def test_a_holder_that_died_is_replaced_when_its_lease_is_over(world: World) -> None:
    """Not an hour later: the lease ends, the platform is asked for the post, and a second later it is made."""
    world.accept(event_of(12))
    assert world.claim()
    set_back(world, HOUR_S)
    assert shown_after(world) == [pytest.approx(31.0, abs=1.0)]


def test_a_command_goes_on(world: World) -> None:
    """One that waits for its next look is looked at soon."""
    key = world.builds.start()
    world.builds.finish(key)
    world.accept(world.builds.fetch(key, with_log=False))
    world.builds.queues, world.builds.now = True, world.clock.now()
    world.ask("retry user-service#1")
    world.work(200)
    set_back(world, HOUR_S)
    world.builds.begin_queued()
    world.work(200)
    assert (world.states(), len(world.builds.requests)) == (["done"], 1)


def test_a_version_is_verified_on(sqlite_store: SqlStore, sqlite_database: Engine) -> None:
    """What its checks were planned by lies in its snapshot: nobody looked for an hour, and what burnt burnt on."""
    stage = a_stage(sqlite_store, sqlite_database)
    stage.good("v1")
    number = stage.carried_out("v2")
    stage.go_on(10)
    seen = len(stage.verification.measured)
    set_back(stage.world, HOUR_S)
    stage.go_on(20)
    assert len(stage.verification.measured) > seen
    assert stage.state(number) is DeploymentState.VERIFYING
    stage.verification.verdicts["health@v2"] = Verdict.FAILED
    stage.go_on(10)
    assert stage.deployment(number).outcome == "checks_failed"


def fails(stage: Stage, version: str) -> None:
    """Deploy what its checks reject, and wait until it is rolled back."""
    stage.verification.verdicts[f"health@{version}"] = Verdict.FAILED
    number = stage.carried_out(version)
    stage.go_on(1)
    stage.run_ends()
    stage.go_on(60)
    assert stage.state(number) is DeploymentState.ROLLED_BACK


def test_what_comes_after_it_was_deployed_last(sqlite_store: SqlStore, sqlite_database: Engine) -> None:
    """What stood there before seems to have come later: what failed was to be undone by an older version, or not."""
    stage = a_stage(sqlite_store, sqlite_database)
    for version in ("v1", "v2"):
        stage.good(version)
    set_back(stage.world, HOUR_S)
    stage.good("v3")
    fails(stage, "v4")
    assert [run["version"] for run in stage.runs()] == ["v1", "v2", "v3", "v4", "v3"]


def test_what_failed_after_it_may_be_tried_again(sqlite_store: SqlStore, sqlite_database: Engine) -> None:
    """It counts as ended after all that stood there before, and not as failed after it was asked for anew."""
    stage = a_stage(sqlite_store, sqlite_database)
    stage.good("v1")
    set_back(stage.world, HOUR_S)
    fails(stage, "v2")
    stage.verification.verdicts.clear()
    stage.ask("unlock user-service in production")
    again = stage.carried_out("v2")
    stage.go_on(60)
    assert stage.state(again) is DeploymentState.SUCCEEDED


def test_break_glass_undoes_what_came_after_it(sqlite_store: SqlStore, sqlite_database: Engine) -> None:
    """People were shown what cannot be undone; it began before they asked, whatever it counts as."""
    rule = RollbackRule(irreversible=("[irreversible]",))
    stage = a_stage(sqlite_store, sqlite_database, rollback=rule, break_glass=("sre",))
    stage.good("v1")
    set_back(stage.world, HOUR_S)
    stage.build("v2", title="Drop a column [irreversible]")
    stage.good("v2")
    stage.ask("deploy user-service v1 to production break-glass because the shop is down")
    stage.ask("confirm user-service#3")
    stage.go_on(1)
    assert stage.state(3) is DeploymentState.DEPLOYING


def test_a_little_is_not_worth_it(world: World) -> None:
    """Seconds are waited for: nothing is planned anew."""
    world.accept(event_of(12))
    world.deliver()
    planned = world.card()
    looks = set_back(world, 100.0)
    assert looks.look() == 0.0
    assert world.card() == planned


def test_nothing_is_turned_back_twice(world: World) -> None:
    """A second process that notices the same finds that it was done; so does the next look."""
    world.messenger.fail(CI, RateLimited("slack", "rate_limited", 2 * HOUR_S))
    world.accept(event_of(12))
    world.deliver()
    looks = set_back(world, HOUR_S)
    due_at = world.card().due_at
    assert due_at == pytest.approx(world.clock.now().timestamp() + 2 * HOUR_S, abs=1.0)
    assert looks.look() == SetBack(world.database, world.clock).look() == 0.0
    assert world.card().due_at == due_at


def test_each_instant_that_is_stored_is_thought_of() -> None:
    """A column that work is planned by, and that were forgotten here, would stand still for an hour."""
    columns = {str(one) for table in metadata.tables.values() for one in table.columns if isinstance(one.type, Double)}
    assert {str(column) for column in (*PLANNED, *HAPPENED)} | AS_IT_WAS == columns


def test_large_tables_may_take_their_time(world: World) -> None:
    """Turning back has no time-out on PostgreSQL, or it might come to nothing each time, for ever."""
    limits: set[str] = set()

    def look(_connection: Any, cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith("UPDATE") and world.database.dialect.name == "postgresql":
            limits.add(cursor.connection.execute("SHOW statement_timeout").fetchone()[0])

    world.accept(event_of())
    event.listen(world.database, "before_cursor_execute", look)
    set_back(world, HOUR_S)
    assert limits == ({"0"} if world.database.dialect.name == "postgresql" else set())
