"""Two previews of one way back: only the one that was confirmed says what becomes of the deployment it undoes."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from bot.domain.checks import Verdict
from bot.domain.deployments import DeploymentState
from bot.domain.services import RollbackRule
from tests.services.deployment_world import SERVICE, Stage, a_stage
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

S = DeploymentState
BACK = f"rollback {SERVICE} in production"


@pytest.fixture
def stage(sqlite_store: SqlStore, sqlite_database: Engine) -> Stage:
    """v1 is good in production, and a failure would stay there."""
    stage = a_stage(sqlite_store, sqlite_database, rollback=RollbackRule(is_enabled=False))
    stage.good("v1")
    return stage


def previewed_twice(stage: Stage) -> None:
    """The way back from #2 is previewed as #3 and as #4, and #4 is confirmed."""
    for typed in (BACK, BACK, f"confirm {SERVICE}#4"):
        stage.ask(typed)
    assert (stage.state(2), stage.state(3), stage.state(4)) == (S.ROLLING_BACK, S.REQUESTED, S.QUEUED)


def comes_back(stage: Stage) -> None:
    """The way back that was confirmed is carried out."""
    stage.go_on(1)
    stage.run_ends()
    stage.go_on(60)
    assert stage.state(4) is S.SUCCEEDED


@pytest.mark.parametrize("verb", ["abort", "reject"])
def test_what_had_succeeded_is_undone_all_the_same(stage: Stage, verb: str) -> None:
    """Who ends the other preview ends that, and brings nothing back: no way leads forward again."""
    stage.good("v2")
    previewed_twice(stage)
    stage.ask(f"{verb} {SERVICE}#3")
    assert (stage.state(2), stage.state(3)) == (S.ROLLING_BACK, S.CANCELLED)
    comes_back(stage)
    assert (stage.state(2), stage.deployment(2).rolled_back_by) == (S.ROLLED_BACK, 4)
    assert "no earlier version" in stage.ask(BACK)


def test_what_had_failed_is_undone_all_the_same(stage: Stage) -> None:
    """An approver rejects the other preview: nobody is called for a way back that goes on."""
    stage.verification.verdicts["health@v2"] = Verdict.FAILED
    stage.carried_out("v2")
    stage.go_on(60)
    previewed_twice(stage)
    stage.ask(f"reject {SERVICE}#3", "U2")
    assert (stage.state(2), stage.state(3)) == (S.ROLLING_BACK, S.CANCELLED)
    comes_back(stage)
    assert stage.state(2) is S.ROLLED_BACK


def test_a_preview_that_nobody_confirms_ends_by_itself(stage: Stage) -> None:
    """It expires while the way back that was confirmed goes on, and changes nothing of what that undoes."""
    stage.good("v2")
    previewed_twice(stage)
    stage.go_on(700)
    assert (stage.state(2), stage.state(3), stage.state(4)) == (S.ROLLING_BACK, S.EXPIRED, S.DEPLOYING)
    stage.run_ends()
    stage.go_on(60)
    assert (stage.state(2), stage.state(4)) == (S.ROLLED_BACK, S.SUCCEEDED)
