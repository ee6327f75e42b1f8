"""What waits for people while something newer is deployed: nobody agreed to undo that."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from bot.domain.checks import Verdict
from bot.domain.deployments import DeploymentState, note
from bot.domain.services import RollbackRule
from tests.services.deployment_world import SERVICE, Stage, a_stage
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

S = DeploymentState


@pytest.fixture
def stage(store: SqlStore, database: Engine) -> Stage:
    """v1 is in production; v2 and v3 are built."""
    stage = a_stage(store, database)
    stage.good("v1")
    stage.build("v2")
    return stage


def asked(stage: Stage, version: str) -> int:
    """A deployment to production that was asked for; its number."""
    stage.ask(f"deploy {SERVICE} {version} to production")
    return stage.newest()


def test_a_newer_version_ends_what_waits_for_approval(stage: Stage) -> None:
    """Its card said v1 → v2: nobody can agree to going back from v3 by it, and those concerned are called."""
    stage.ask(f"confirm {SERVICE}#{asked(stage, 'v2')}")
    stage.ask(f"approve {SERVICE}#2", "U2")
    stage.good("v3")
    after = stage.deployment(2)
    assert (after.state, after.outcome, after.detail) == (S.SUPERSEDED, "outdated", f"{SERVICE}#3")
    assert "waits for no approval" in stage.ask(f"approve {SERVICE}#2", "U3")
    assert "Something newer was deployed" in str(stage.card(2).sections)
    assert [run["version"] for run in stage.runs()] == ["v1", "v3"]


def test_an_old_preview_is_not_confirmed(stage: Stage) -> None:
    """It showed v1 → v2; asked for anew it shows v3 → v2, and may go on."""
    asked(stage, "v2")
    stage.good("v3")
    assert f"{SERVICE}#3 brought something newer" in stage.ask(f"confirm {SERVICE}#2")
    assert stage.state(2) is S.REQUESTED
    stage.ask(f"confirm {SERVICE}#{asked(stage, 'v2')}")
    assert stage.state(4) is S.AWAITING_APPROVAL


def test_an_older_version_that_came_between_changes_nothing(stage: Stage) -> None:
    """v2 was deployed while v3 waited: v3 was to come anyway."""
    stage.build("v3")
    stage.ask(f"confirm {SERVICE}#{asked(stage, 'v3')}")
    stage.good("v2")
    assert stage.state(2) is S.AWAITING_APPROVAL


def test_what_cannot_be_undone_is_not_gone_back_over_where_it_failed(store: SqlStore, database: Engine) -> None:
    """v3 dropped a column, failed and stayed: what was approved before it would run on the new schema."""
    stage = a_stage(store, database, rollback=RollbackRule(is_enabled=False))
    stage.good("v1")
    stage.build("v2")
    stage.ask(f"confirm {SERVICE}#{asked(stage, 'v2')}")
    stage.build("v3", title="Drop a column [irreversible]")
    stage.verification.verdicts["health@v3"] = Verdict.FAILED
    number = asked(stage, "v3")
    for typed, person in (("confirm", "U1"), ("approve", "U2"), ("approve", "U3")):
        stage.ask(f"{typed} {SERVICE}#{number}", person)
    stage.go_on(1)
    stage.run_ends()
    stage.go_on(60)
    assert (stage.state(3), stage.state(2)) == (S.FAILED, S.SUPERSEDED)


def test_it_is_looked_at_once_more_when_it_begins(stage: Stage) -> None:
    """Whatever let it wait on: another version of Shipmate may have stored the newer one's end."""
    stage.ask(f"lock {SERVICE} in production because so")
    stage.ask(f"confirm {SERVICE}#{asked(stage, 'v2')}")
    stage.ask(f"approve {SERVICE}#2", "U2")
    stage.ask(f"approve {SERVICE}#2", "U3")
    assert stage.state(2) is S.QUEUED
    first = stage.deployment(1)
    newer = note(first, version=type(first.version)("v9", "f" * 40, f"build:buildbot/{SERVICE}#99"))
    stage.world.store.write(lambda tx: tx.deployments.put(newer, due_at=None))
    stage.ask(f"unlock {SERVICE} in production")
    stage.go_on(5)
    assert (stage.state(2), stage.deployment(2).outcome, len(stage.runs())) == (S.SUPERSEDED, "outdated", 1)


def twice(stage: Stage) -> None:
    """v2 was asked for by two people; the first one's is under way, the second one's waits for approval."""
    for _ in range(2):
        stage.ask(f"confirm {SERVICE}#{asked(stage, 'v2')}")
    for person in ("U2", "U3"):
        stage.ask(f"approve {SERVICE}#2", person)
    stage.go_on(1)
    assert (stage.state(2), stage.state(3)) == (S.DEPLOYING, S.AWAITING_APPROVAL)


def test_what_failed_there_meanwhile_is_not_tried_again_unasked(stage: Stage) -> None:
    """Two people asked for v2: it fails, and goes; who agreed to it once more did not know that."""
    twice(stage)
    stage.ask(f"approve {SERVICE}#3", "U2")
    old = asked(stage, "v2")
    stage.verification.verdicts["health@v2"] = Verdict.FAILED
    stage.run_ends()
    stage.go_on(1)
    assert stage.state(2) is S.ROLLING_BACK
    after = stage.deployment(3)
    assert (after.state, after.outcome, after.detail) == (S.SUPERSEDED, "went_wrong", f"{SERVICE}#2")
    assert "This very version was deployed after it was asked for, and went wrong" in str(stage.card(3).sections)
    assert "and it went wrong: ask again, knowing that" in stage.ask(f"confirm {SERVICE}#{old}")
    stage.ask(f"confirm {SERVICE}#{asked(stage, 'v2')}")  # who asks now knows it
    assert stage.state(stage.newest()) is S.AWAITING_APPROVAL


def test_what_went_well_there_meanwhile_may_be_deployed_once_more(stage: Stage) -> None:
    """The same version a second time is nothing that anybody has to be asked about again."""
    twice(stage)
    stage.run_ends()
    stage.go_on(60)
    assert (stage.state(2), stage.state(3)) == (S.SUCCEEDED, S.AWAITING_APPROVAL)


def rolled_back_in_staging(stage: Stage) -> None:
    """v2 was good in staging, until somebody looked at it."""
    stage.ask(f"rollback {SERVICE} in staging")
    stage.ask(f"confirm {SERVICE}#{stage.newest()}")
    stage.go_on(1)
    stage.run_ends()
    stage.go_on(5)


@pytest.fixture
def ordered(store: SqlStore, database: Engine) -> Stage:
    """Production comes after staging, which has v2 after v1."""
    stage = a_stage(store, database, after="staging")
    stage.good("v1", "staging")
    stage.good("v2", "staging")
    return stage


def test_the_environment_before_is_looked_at_when_it_begins(ordered: Stage) -> None:
    """v2 was rolled back in staging while people were asked for their approvals: it goes no further."""
    ordered.ask(f"confirm {SERVICE}#{asked(ordered, 'v2')}")
    rolled_back_in_staging(ordered)
    for person in ("U2", "U3"):
        ordered.ask(f"approve {SERVICE}#3", person)
    ordered.go_on(5)
    after = ordered.deployment(3)
    assert (after.state, after.outcome, after.detail) == (S.SUPERSEDED, "not_good_before", "staging")
    assert "went wrong in the environment before" in str(ordered.card(3).sections)


def test_the_environment_before_is_looked_at_when_it_is_confirmed(ordered: Stage) -> None:
    """The preview is ten minutes old at most, and staging may have changed by then."""
    asked(ordered, "v2")
    rolled_back_in_staging(ordered)
    assert "v2 has to succeed in staging first" in ordered.ask(f"confirm {SERVICE}#3")
    assert ordered.state(3) is S.REQUESTED


def test_break_glass_needs_no_order(store: SqlStore, database: Engine) -> None:
    """It asked for none when it was filed, and asks for none when it begins."""
    stage = a_stage(store, database, after="staging", break_glass=("sre",))
    stage.build("v1")
    stage.ask(f"deploy {SERVICE} v1 to production break-glass because the shop is down")
    stage.ask(f"confirm {SERVICE}#1")
    stage.go_on(1)
    assert stage.state(1) is S.DEPLOYING
