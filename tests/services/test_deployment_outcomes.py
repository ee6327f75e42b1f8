"""Ends and questions that come rarely: a queue of a day, a run that is gone or takes long, a service taken away."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from bot.domain.deployments import DeploymentState
from tests.services.deployment_world import DEPLOY_PROJECT, ROLES, SERVICE, Stage, a_stage
from tests.services.world import World
from tests.stores import SqlStore

S = DeploymentState
HOUR_S = 3600.0


@pytest.fixture
def stage(store: SqlStore, database: Engine) -> Stage:
    """One service, and a version to deploy."""
    stage = a_stage(store, database)
    stage.build("v1")
    return stage


def test_queued_for_a_whole_week(stage: Stage) -> None:
    """A lock that nobody takes away: it ends, says why, and does not begin when the lock is gone at last."""
    stage.ask(f"lock {SERVICE} in staging because load test")
    stage.ask(f"deploy {SERVICE} v1 to staging")
    stage.go_on(60)
    stage.world.clock.advance(7 * 24 * HOUR_S - 120)
    stage.go_on(20)
    assert (stage.state(), stage.deployment().outcome) == (S.QUEUED, "locked")
    stage.go_on(60)
    assert (stage.state(), stage.deployment().outcome) == (S.EXPIRED, "queued_too_long")
    assert "Waited a whole week for its turn." in str(stage.card())
    stage.ask(f"unlock {SERVICE} in staging")
    stage.go_on(60)
    assert (stage.state(), stage.runs()) == (S.EXPIRED, [])


def test_a_run_that_is_gone(stage: Stage) -> None:
    """The CI system knows it no more: nobody can say that it went well, so it failed, and what waits goes on."""
    stage.ask(f"deploy {SERVICE} v1 to staging")
    stage.go_on(5)
    stage.ask(f"deploy {SERVICE} v1 to staging")
    [key] = [key for key in stage.builds.runs if key.project == DEPLOY_PROJECT]
    del stage.builds.runs[key]
    stage.go_on(5)
    assert (stage.state(), stage.deployment().outcome) == (S.FAILED, "run_gone")
    stage.go_on(20)
    assert stage.state(2) is S.DEPLOYING


def test_a_run_that_takes_long(stage: Stage) -> None:
    """After its time a person is asked, once, and it is left to run: its end counts whenever it comes."""
    stage.ask(f"deploy {SERVICE} v1 to staging")
    stage.go_on(5)
    stage.world.clock.advance(HOUR_S - 30)
    stage.go_on(20)
    assert (stage.state(), stage.deployment().question) == (S.DEPLOYING, "")
    stage.go_on(30)
    asked = stage.deployment()
    assert (asked.state, asked.question) == (S.DEPLOYING, "takes_long")
    stage.go_on(300)
    assert stage.deployment().revision == asked.revision
    stage.run_ends()
    stage.go_on(20)
    assert (stage.state(), stage.deployment().question, len(stage.runs())) == (S.SUCCEEDED, "", 1)


def test_a_service_taken_out_of_the_configuration(stage: Stage, store: SqlStore, database: Engine) -> None:
    """What has not begun ends; what has begun is left alone, and goes on where the service is back."""
    stage.ask(f"deploy {SERVICE} v1 to staging")
    stage.go_on(5)
    stage.ask(f"deploy {SERVICE} v1 to staging")
    stage.ask(f"deploy {SERVICE} v1 to production")
    stage.ask(f"confirm {SERVICE}#3")
    assert [stage.state(number) for number in (1, 2, 3)] == [S.DEPLOYING, S.QUEUED, S.AWAITING_APPROVAL]
    without = World(store, database, clock=stage.world.clock, builds=stage.builds, roles=ROLES)
    stage.world.clock.advance(2 * HOUR_S)  # those who may approve would be reminded
    without.carry(20)
    assert [stage.state(number) for number in (1, 2, 3)] == [S.DEPLOYING, S.CANCELLED, S.CANCELLED]
    assert [stage.deployment(number).outcome for number in (2, 3)] == ["not_configured"] * 2
    stage.go_on(30)
    stage.run_ends()
    stage.go_on(30)
    assert (stage.state(), len(stage.runs())) == (S.SUCCEEDED, 1)
