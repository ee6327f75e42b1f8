"""What is locked by people and by rollbacks: each stands for itself, and is said by whoever unlocks."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from bot.domain.builds import BuildStatus
from bot.domain.checks import Verdict
from bot.domain.deployments import Deployment, DeploymentState
from bot.services.presenters.deployment import deployment_card
from tests.services.deployment_world import SERVICE, Stage, a_stage
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

S = DeploymentState


@pytest.fixture
def stage(store: SqlStore, database: Engine) -> Stage:
    """v1 is in production."""
    stage = a_stage(store, database)
    stage.good("v1")
    return stage


def rolled_back(stage: Stage, meanwhile: str = "") -> None:
    """v2 fails its checks and is rolled back; `meanwhile` is typed while it is verified."""
    stage.verification.verdicts["health@v2"] = Verdict.PASSED
    number = stage.carried_out("v2")
    if meanwhile:
        stage.ask(meanwhile)
    stage.verification.verdicts["health@v2"] = Verdict.FAILED
    stage.go_on(20)
    stage.run_ends()
    stage.go_on(60)
    assert stage.state(number) is S.ROLLED_BACK


def reasons(stage: Stage, environment: str = "production") -> list[str]:
    """Why an environment is locked."""
    return [lock.reason for lock in stage.world.store.read(lambda tx: tx.locks.over(SERVICE, environment))]


def test_a_lock_needs_a_reason(stage: Stage) -> None:
    """Whoever waits for it reads that."""
    assert "Something is missing" in stage.ask(f"lock {SERVICE} in production")
    assert reasons(stage) == []


def test_a_lock_that_stands_already_is_named_by_its_own_reason(stage: Stage) -> None:
    """Not that of another place: whoever unlocks this one takes that one away."""
    stage.ask(f"lock {SERVICE} because we move")
    stage.ask(f"lock {SERVICE} in production because load test")
    answer = stage.ask(f"lock {SERVICE} in production because audit")
    assert answer == f"{SERVICE}/production was locked already by U1: load test"


def test_the_card_of_a_rollback_says_that_it_locked(stage: Stage) -> None:
    """What holds back whatever comes next is not to be looked for."""
    rolled_back(stage)
    shown = str(stage.card(stage.newest()))
    assert "production was locked: nothing else is deployed there until somebody has looked and unlocks it" in shown
    assert f"(unlock {SERVICE} production)" in shown


def test_a_rollback_locks_beside_a_person(stage: Stage) -> None:
    """Both reasons stand; who ends the load test is told of the other one, and opens nothing."""
    rolled_back(stage, f"lock {SERVICE} in production because load test")
    assert [reason.partition(":")[0] for reason in reasons(stage)] == ["load test", "v2 was rolled back"]
    assert ("shipmate", "lock", f"{SERVICE}/production", "locked") in stage.world.trail()
    stage.ask("deployments")
    shown = str(stage.world.card_answer().sections[0])
    assert "load test" in shown
    assert "v2 was rolled back" in shown
    answer = stage.ask(f"unlock {SERVICE} in production")
    assert f"{SERVICE}/production is not locked by" in answer
    assert f"{SERVICE}/production is still locked by Shipmate: v2 was rolled back" in answer
    assert len(reasons(stage)) == 1
    assert f"{SERVICE}/production is unlocked." in stage.ask(f"unlock {SERVICE} in production")
    assert f"{SERVICE}/production was not locked." in stage.ask(f"unlock {SERVICE} in production")


def test_unlocking_a_service_names_what_stays_locked(stage: Stage) -> None:
    """A lock of one environment is not that of all, and nobody is told that nothing is locked."""
    rolled_back(stage)
    answer = stage.ask(f"unlock {SERVICE}")
    assert f"{SERVICE}/* was not locked." in answer
    assert f"{SERVICE}/production is still locked by Shipmate" in answer
    assert len(reasons(stage)) == 1
    stage.ask(f"lock {SERVICE} because we move")
    answer = stage.ask(f"unlock {SERVICE} in production")
    assert f"{SERVICE}/* is still locked by" in answer
    assert (reasons(stage), reasons(stage, "staging")) == (["we move"], ["we move"])


def test_a_person_may_lock_what_a_rollback_has_locked(stage: Stage) -> None:
    """The second lock of a person is answered with the first one, not with the rollback's."""
    rolled_back(stage)
    assert f"{SERVICE}/production is locked." in stage.ask(f"lock {SERVICE} in production because I look at it")
    assert "was locked already by" in (answer := stage.ask(f"lock {SERVICE} in production because so"))
    assert "I look at it" in answer
    stage.build("v3")
    stage.ask(f"deploy {SERVICE} v3 to production")
    number = stage.newest()
    for typed, person in (("confirm", "U1"), ("approve", "U2"), ("approve", "U3")):
        stage.ask(f"{typed} {SERVICE}#{number}", person)
    stage.go_on(5)
    held = stage.deployment(number)
    assert (held.state, held.outcome) == (S.QUEUED, "locked")
    assert "v2 was rolled back" in held.detail
    assert "I look at it" in held.detail


def by_hand(stage: Stage, typed: str = f"rollback {SERVICE} in production") -> int:
    """A rollback that a person asks for and confirms, and that begins; its number."""
    stage.ask(typed)
    number = stage.newest()
    stage.ask(f"confirm {SERVICE}#{number}")
    stage.go_on(1)
    assert stage.state(number) is S.DEPLOYING
    return number


def test_a_rollback_by_hand_locks_when_it_is_done(stage: Stage) -> None:
    """With who asked for it and why; the preview says so before, its card afterwards, and what unlocks it."""
    stage.good("v2")
    stage.ask(f"rollback {SERVICE} in production")
    assert f"until somebody unlocks it (unlock {SERVICE} production)" in str(stage.world.card_answer().sections)
    number = by_hand(stage, f"rollback {SERVICE} in production because customers are charged twice")
    assert reasons(stage) == []
    stage.run_ends()
    stage.go_on(60)
    assert stage.state(number) is S.SUCCEEDED
    assert reasons(stage) == ["v2 was rolled back by U1: customers are charged twice"]
    assert ("shipmate", "lock", f"{SERVICE}/production", "locked") in stage.world.trail()
    shown = str(stage.card(number))
    assert "production was locked: nothing else is deployed there until somebody has looked and unlocks it" in shown
    assert f"(unlock {SERVICE} production)" in shown
    assert f"{SERVICE}/production is unlocked." in stage.ask(f"unlock {SERVICE} in production")


def test_what_a_rollback_by_hand_holds_back_begins_when_it_is_unlocked(stage: Stage) -> None:
    """Whatever was asked for meanwhile: nothing but another rollback begins before."""
    stage.good("v2")
    stage.good("v3")
    by_hand(stage)
    stage.run_ends()
    stage.go_on(60)
    number = stage.carried_out("v4", is_run_ended=False)
    assert (stage.state(number), stage.deployment(number).outcome) == (S.QUEUED, "locked")
    assert "v3 was rolled back by U1" in stage.deployment(number).detail
    back = by_hand(stage)
    assert stage.deployment(back).version.name == "v1"
    assert stage.state(back - 2) is S.ROLLING_BACK
    assert "production was locked" in str(stage.card(back - 2))
    stage.run_ends()
    stage.go_on(60)
    assert (stage.state(back), len(reasons(stage))) == (S.SUCCEEDED, 1)
    number = stage.carried_out("v4", is_run_ended=False)
    stage.ask(f"unlock {SERVICE} in production")
    stage.go_on(5)
    assert stage.state(number) is S.DEPLOYING


@pytest.mark.parametrize(("status", "is_locked"), [(BuildStatus.FAILED, True), (None, False)])
def test_a_rollback_by_hand_that_comes_to_nothing_locks_nothing(
    stage: Stage, status: BuildStatus | None, is_locked: bool
) -> None:
    """One that failed half way keeps out whatever would begin upon that; one that never began leaves all as it was."""
    stage.good("v2")
    if status:
        by_hand(stage)
        stage.run_ends(status)
    else:
        stage.ask(f"rollback {SERVICE} in production")
        stage.ask(f"confirm {SERVICE}#3")
        stage.ask(f"abort {SERVICE}#3")
    assert stage.state(3) is (S.FAILED if status else S.CANCELLED)
    assert reasons(stage) == (["v2 was to be rolled back by U1"] if is_locked else [])
    assert ("production was locked" in str(stage.card(3))) == is_locked


def test_what_an_older_version_rolled_back_is_not_said_to_have_locked(stage: Stage) -> None:
    """It locked nothing, and its row says nothing of locks."""
    stage.good("v2")
    number = by_hand(stage)
    stage.run_ends()
    stage.go_on(60)
    stored = stage.deployment(number).to_json()
    older = Deployment.from_json({name: value for name, value in stored.items() if name != "has_locked"})
    assert "was locked" not in str(deployment_card(older, "en", "UTC"))
    assert "was locked" in str(deployment_card(stage.deployment(number), "en", "UTC"))


def test_a_rollback_by_hand_locks_beside_a_person(stage: Stage) -> None:
    """Who unlocks takes their own lock away first, and is told of the other one."""
    stage.good("v2")
    stage.ask(f"lock {SERVICE} in production because load test")
    by_hand(stage)
    stage.run_ends()
    stage.go_on(60)
    assert reasons(stage) == ["load test", "v2 was rolled back by U1"]
    assert "is still locked by Shipmate: v2 was rolled back by U1" in stage.ask(f"unlock {SERVICE} in production")
    assert len(reasons(stage)) == 1
