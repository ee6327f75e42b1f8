"""What was ordered and never ran: nothing there was changed, so that it stands in nobody's way back."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from bot.domain.checks import Verdict
from bot.domain.deployments import DeploymentState
from bot.errors import DestinationGone
from tests.build_fakes import FakeBuildSystem
from tests.services.deployment_world import DEPLOY_PROJECT, SERVICE, Stage, a_stage
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

S = DeploymentState


@pytest.fixture
def stage(store: SqlStore, database: Engine) -> Stage:
    """v1 was good in production, and v2 is what runs there."""
    stage = a_stage(store, database)
    stage.good("v1")
    stage.good("v2")
    return stage


def refused(stage: Stage, version: str = "v3") -> int:
    """Ask for a version that the CI system refuses to deploy; its number."""
    stage.build_once(version)
    stage.ask(f"deploy {SERVICE} {version} to production")
    number = stage.newest()
    for typed, person in (("confirm", "U1"), ("approve", "U2"), ("approve", "U3")):
        stage.ask(f"{typed} {SERVICE}#{number}", person)
    stage.builds.projects = (SERVICE,)
    stage.go_on(1)
    stage.builds.projects = (SERVICE, DEPLOY_PROJECT)
    assert (stage.state(number), stage.deployment(number).not_rolled_back) == (S.FAILED, "nothing_changed")
    return number


def never_runs(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Order what waits, and let its run be cancelled in the queue of the CI system."""

    def follow(_self: FakeBuildSystem, _project: str, _request: str, **_: str) -> None:
        raise DestinationGone("buildbot", "request_cancelled")

    with monkeypatch.context() as patched:
        patched.setattr(FakeBuildSystem, "follow", follow)
        stage.builds.queues = True
        stage.go_on(1)
        stage.go_on(5)
        stage.builds.queues = False


def buttons(stage: Stage, number: int) -> list[str]:
    """What can be pressed on a deployment's card."""
    return [action.id for action in stage.card(number).actions]


def went_back(stage: Stage) -> tuple[int, str]:
    """Roll back by hand; what that undid, and the version it brought."""
    stage.ask(f"rollback {SERVICE} in production")
    number = stage.newest()
    stage.ask(f"confirm {SERVICE}#{number}")
    stage.go_on(1)
    stage.run_ends()
    stage.go_on(60)
    after = stage.deployment(number)
    assert after.state is S.SUCCEEDED
    return after.rollback_of, after.version.name


def test_the_way_back_leads_from_what_runs_there(stage: Stage) -> None:
    """Not from what the CI system refused, and not to what runs anyway; nor forward again afterwards."""
    assert refused(stage) == 3
    assert went_back(stage) == (2, "v1")
    assert (stage.state(2), stage.state(3)) == (S.ROLLED_BACK, S.FAILED)
    assert "no earlier version" in stage.ask(f"rollback {SERVICE} in production")


def test_the_button_stands_on_what_can_be_undone(stage: Stage) -> None:
    """The card of what runs has it and it works; the card of what was refused has none."""
    refused(stage)
    assert ("rollback_deployment" in buttons(stage, 2), "rollback_deployment" in buttons(stage, 3)) == (True, False)
    stage.ask(f"rollback {SERVICE}#2 in production")
    newest = stage.deployment(stage.newest())
    assert (newest.rollback_of, newest.version.name) == (2, "v1")


def asked_back(stage: Stage) -> int:
    """Confirm a way back by hand; its number."""
    stage.ask(f"rollback {SERVICE} in production")
    number = stage.newest()
    stage.ask(f"confirm {SERVICE}#{number}")
    assert stage.state(2) is S.ROLLING_BACK
    return number


def is_as_good_as_before(stage: Stage) -> bool:
    """Whether v2 is what stands there, the next version is shown in its place, and its failure brings it back."""
    last = stage.deployment(2)
    assert (last.state, last.rolled_back_by) == (S.SUCCEEDED, 0)
    stage.verification.verdicts["health@v3"] = Verdict.FAILED
    number = stage.carried_out("v3")
    previous, back = stage.deployment(number).previous, stage.deployment(number + 1)
    return (previous, back.version, back.rollback_of) == (last.version, last.version, number)


def test_a_way_back_that_was_refused_harms_nothing(stage: Stage) -> None:
    """The CI system took no order for it: what had succeeded runs on, and is as good as before."""
    number = asked_back(stage)
    stage.builds.projects = (SERVICE,)
    stage.go_on(1)
    stage.builds.projects = (SERVICE, DEPLOY_PROJECT)
    assert stage.state(number) is S.FAILED
    assert "rollback_deployment" in buttons(stage, 2)
    assert is_as_good_as_before(stage)


def test_a_way_back_that_never_ran_harms_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody took its run out of the queue of the CI system."""
    number = asked_back(stage)
    never_runs(stage, monkeypatch)
    assert (stage.state(number), stage.deployment(number).outcome) == (S.CANCELLED, "never_ran")
    assert is_as_good_as_before(stage)


def test_a_run_cancelled_in_its_queue_is_not_what_was_deployed_last(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its order was taken and never begun."""
    stage.build("v3")
    stage.ask(f"deploy {SERVICE} v3 to production")
    for typed, person in (("confirm", "U1"), ("approve", "U2"), ("approve", "U3")):
        stage.ask(f"{typed} {SERVICE}#3", person)
    never_runs(stage, monkeypatch)
    assert (stage.state(3), stage.deployment(3).outcome) == (S.CANCELLED, "never_ran")
    assert went_back(stage) == (2, "v1")
