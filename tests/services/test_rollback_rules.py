"""What a service's rollback rule says: after how many failures, by which pipeline, and whoever is being asked."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import Engine

from bot.domain.builds import BuildStatus
from bot.domain.checks import Verdict
from bot.domain.deployments import DeploymentState
from bot.domain.services import Pipeline, RollbackRule
from tests.services.deployment_world import CHECK, SERVICE, Stage, a_stage
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

S = DeploymentState
UNDO = "undo-user-service"
TWO = (CHECK, replace(CHECK, name="errors"))


def begun(stage: Stage) -> None:
    """v1 is good in production, and v2's run went well: its checks begin."""
    stage.good("v1")
    stage.build("v2")
    stage.ask(f"deploy {SERVICE} v2 to production")
    stage.ask(f"confirm {SERVICE}#2")
    stage.ask(f"approve {SERVICE}#2", "U2")
    stage.ask(f"approve {SERVICE}#2", "U3")
    stage.go_on(1)
    stage.run_ends()


def test_one_failure_of_two_that_it_takes_does_not_roll_back(store: SqlStore, database: Engine) -> None:
    """It stays, and its card tells of the check that failed."""
    stage = a_stage(store, database, checks=TWO, rollback=RollbackRule(max_failures=2))
    stage.verification.verdicts["errors@v2"] = Verdict.FAILED
    begun(stage)
    stage.go_on(60)
    after = stage.deployment(2)
    assert (after.state, after.outcome, after.detail) == (S.SUCCEEDED, "with_alerts", "errors")
    assert (stage.newest(), len(stage.runs())) == (2, 2)


def test_the_second_failure_rolls_back(store: SqlStore, database: Engine) -> None:
    """Whenever it comes: one check fails at once, the other one later."""
    stage = a_stage(store, database, checks=TWO, rollback=RollbackRule(max_failures=2))
    stage.verification.verdicts["errors@v2"] = Verdict.FAILED
    begun(stage)
    stage.go_on(6)
    assert stage.state(2) is S.VERIFYING
    stage.verification.verdicts["health@v2"] = Verdict.FAILED
    stage.go_on(30)
    assert (stage.state(2), stage.deployment(2).outcome) == (S.ROLLING_BACK, "checks_failed")
    assert [run["version"] for run in stage.runs()] == ["v1", "v2", "v1"]


def test_a_rollback_runs_by_its_own_pipeline(store: SqlStore, database: Engine) -> None:
    """Its project and its parameters, filled with the version that comes back and the one that goes; no other run."""
    pipeline = Pipeline("buildbot", "undo-{{service}}", {"version": "{{version}}", "bad": "{{previous_version}}"})
    stage = a_stage(store, database, rollback=RollbackRule(pipeline=pipeline))
    stage.builds.projects, stage.builds.parameters = (*stage.builds.projects, UNDO), ("version", "environment", "bad")
    stage.verification.verdicts["health@v2"] = Verdict.FAILED
    begun(stage)
    stage.go_on(1)
    undone = [request for request in stage.builds.requests if request.project == UNDO]
    assert [request.parameters for request in undone] == [{"version": "v1", "bad": "v2"}]
    assert [run["version"] for run in stage.runs()] == ["v1", "v2"]
    [key] = [key for key in stage.builds.runs if key.project == UNDO]
    stage.builds.finish(key, BuildStatus.SUCCESS)
    stage.go_on(60)
    assert (stage.state(2), stage.state(3)) == (S.ROLLED_BACK, S.SUCCEEDED)


def test_a_rollback_waits_for_no_answer(store: SqlStore, database: Engine) -> None:
    """One check cannot tell and asks a person; while nobody answers another one fails."""
    long = replace(CHECK, name="errors", duration_s=55.0)
    stage = a_stage(store, database, checks=(CHECK, long))
    stage.verification.verdicts["health@v2"] = Verdict.NO_DATA
    begun(stage)
    stage.go_on(33)
    assert (stage.state(2), stage.deployment(2).question) == (S.VERIFYING, "checks:health")
    stage.verification.verdicts["errors@v2"] = Verdict.FAILED
    stage.go_on(20)
    assert (stage.state(2), stage.state(3)) == (S.ROLLING_BACK, S.DEPLOYING)
    assert stage.runs()[-1]["version"] == "v1"


def test_what_a_person_kept_is_rolled_back_all_the_same(store: SqlStore, database: Engine) -> None:
    """They answered for the check that could not tell, and for no other."""
    long = replace(CHECK, name="errors", duration_s=55.0)
    stage = a_stage(store, database, checks=(CHECK, long))
    stage.verification.verdicts["health@v2"] = Verdict.NO_DATA
    begun(stage)
    stage.go_on(33)
    stage.ask(f"keep {SERVICE}#2")
    assert (stage.state(2), stage.deployment(2).kept) == (S.VERIFYING, ("health",))
    stage.verification.verdicts["errors@v2"] = Verdict.FAILED
    stage.go_on(20)
    assert stage.state(2) is S.ROLLING_BACK
