"""How deployments end that did not go their usual way."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from bot.domain.checks import Verdict
from bot.domain.deployments import DeploymentState, note
from bot.domain.services import RollbackRule
from tests.services.deployment_world import DEPLOY_PROJECT, SERVICE, Stage, a_stage
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

S = DeploymentState


@pytest.fixture
def stage(store: SqlStore, database: Engine) -> Stage:
    """One service with staging and production; nothing was deployed yet."""
    return a_stage(store, database)


def begun(stage: Stage, version: str, number: int) -> None:
    """A deployment to production that was asked for, confirmed, approved and begun."""
    stage.build(version)
    stage.ask(f"deploy {SERVICE} {version} to production")
    stage.ask(f"confirm {SERVICE}#{number}")
    stage.ask(f"approve {SERVICE}#{number}", "U2")
    stage.ask(f"approve {SERVICE}#{number}", "U3")
    stage.go_on()


def test_a_person_decides_against_what_its_checks_could_not_tell(stage: Stage) -> None:
    """The card offers both; Roll back brings the version before back at once."""
    stage.good("v1")
    stage.verification.verdicts["health@v2"] = Verdict.NO_DATA
    begun(stage, "v2", 2)
    stage.run_ends()
    stage.go_on(60)
    assert [action.id for action in stage.card(2).actions][:2] == ["keep", "abort"]
    assert "is not kept" in stage.ask(f"abort {SERVICE}#2")
    assert (stage.state(2), stage.deployment(3).version.name) == (S.ROLLING_BACK, "v1")
    assert stage.deployment(2).outcome == "not_kept"


def test_a_preview_that_was_thought_better_of_is_nobodys_news(stage: Stage) -> None:
    """Never mind, or no answer: no card anywhere."""
    stage.build("v1")
    stage.ask(f"deploy {SERVICE} v1 to production")
    stage.ask(f"abort {SERVICE}#1")
    stage.ask(f"deploy {SERVICE} v1 to production")
    stage.go_on(601)
    assert (stage.state(1), stage.state(2)) == (S.CANCELLED, S.EXPIRED)
    stage.world.deliver(5)
    assert stage.world.messenger.calls == []


def test_a_refused_run_changed_nothing_and_is_not_rolled_back(stage: Stage) -> None:
    """The CI system has no such project: the deployment failed, and nothing is brought back or locked."""
    stage.good("v1")
    stage.builds.projects = (SERVICE,)
    begun(stage, "v2", 2)
    assert (stage.state(2), stage.deployment(2).not_rolled_back) == (S.FAILED, "nothing_changed")
    stage.builds.projects = (SERVICE, DEPLOY_PROJECT)
    begun(stage, "v3", 3)
    assert stage.state(3) is S.DEPLOYING


def test_a_rollback_that_never_began_harms_nothing(stage: Stage) -> None:
    """Called off before its turn: the version is as good as before, and the next failure goes back to it."""
    stage.good("v1")
    stage.good("v2")
    stage.ask(f"rollback {SERVICE} in production")
    stage.ask(f"confirm {SERVICE}#3")
    assert stage.state(2) is S.ROLLING_BACK
    stage.ask(f"abort {SERVICE}#3")
    assert (stage.state(3), stage.state(2), stage.deployment(2).rolled_back_by) == (S.CANCELLED, S.SUCCEEDED, 0)
    assert stage.card(2).is_final
    stage.verification.verdicts["health@v3"] = Verdict.FAILED
    begun(stage, "v3", 4)
    stage.run_ends()
    stage.go_on(20)
    assert (stage.state(4), stage.deployment(5).version.name) == (S.ROLLING_BACK, "v2")


def test_what_failed_is_no_better_for_a_rollback_that_never_began(store: SqlStore, database: Engine) -> None:
    """It is still there: a person has to look."""
    stage = a_stage(store, database, rollback=RollbackRule(is_enabled=False))
    stage.good("v1")
    stage.verification.verdicts["health@v2"] = Verdict.FAILED
    begun(stage, "v2", 2)
    stage.run_ends()
    stage.go_on(20)
    stage.ask(f"rollback {SERVICE} in production")
    stage.ask(f"confirm {SERVICE}#3")
    stage.ask(f"abort {SERVICE}#3")
    assert (stage.state(3), stage.state(2)) == (S.CANCELLED, S.ROLLBACK_FAILED)


def test_a_rollback_by_itself_brings_no_issues(stage: Stage) -> None:
    """What failed keeps them; the way back takes them out, and is no news of theirs."""
    stage.good("v1")
    begun(stage, "v2", 2)
    named = note(stage.deployment(2), issues=("USER-12",))
    now = stage.world.clock.now().timestamp()
    stage.world.store.write(lambda tx: tx.deployments.put(named, due_at=now))
    stage.verification.verdicts["health@v2"] = Verdict.FAILED
    stage.run_ends()
    stage.go_on(20)
    assert (stage.deployment(2).issues, stage.deployment(3).rollback_of) == (("USER-12",), 2)
    assert stage.deployment(3).issues == ()
