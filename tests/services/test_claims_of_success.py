"""Who is believed about a deployment's run: its own CI system, when asked, and nobody who merely tells of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from bot.domain.builds import BuildStatus, Phase
from bot.domain.deployments import DeploymentState
from bot.domain.events import Event, EventKind
from bot.domain.subjects import SubjectKey, SubjectKind
from bot.services.ingest import Outcome
from tests.services.deployment_world import DEPLOY_PROJECT, SERVICE, Stage, a_stage
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

S = DeploymentState


@pytest.fixture
def stage(store: SqlStore, database: Engine) -> Stage:
    """One service, and a version to deploy."""
    stage = a_stage(store, database)
    stage.build("v1")
    return stage


def claim(stage: Stage, number: str, summary: str) -> Event:
    """What a webhook says of a run of the deploying project: that it went well."""
    key = SubjectKey(SubjectKind.BUILD, "buildbot", DEPLOY_PROJECT, number)
    now = stage.world.clock.now()
    known = stage.builds.runs.get(key)
    begun = known.facts.started_at if known is not None and known.facts.started_at else now
    return Event(
        source="buildbot",
        delivery_key=f"claim.{number}.{summary}",
        kind=EventKind.BUILD_FINISHED,
        subject=key,
        occurred_at=now + timedelta(seconds=1),
        phase=Phase.FINISHED,
        facts=replace(
            stage.builds.runs[next(iter(stage.builds.runs))].facts,
            status=BuildStatus.SUCCESS,
            started_at=begun,
            finished_at=now + timedelta(seconds=1),
            summary=summary,
            triggered_by=summary,
        ),
        generation=int(begun.timestamp()),
    )


def correlation(stage: Stage) -> str:
    """What Shipmate left in the run, and whoever can read there may copy."""
    return next(request.correlation for request in stage.builds.requests if request.project == DEPLOY_PROJECT)


@pytest.mark.parametrize("is_correlated", [True, False])
@pytest.mark.parametrize("number", ["1", "2"])
def test_a_claim_of_success_ends_nothing(stage: Stage, is_correlated: bool, number: str) -> None:
    """Of the very run or of one made up, with our correlation in its reason or without: it goes on deploying."""
    stage.ask(f"deploy {SERVICE} v1 to staging")
    stage.go_on(5)
    known = stage.deployment().run
    summary = f"asked by Shipmate ({correlation(stage)})" if is_correlated else "build successful"
    assert stage.world.accept(claim(stage, number, summary)) == [Outcome.ACCEPTED]
    stage.go_on(120)
    assert stage.state() is S.DEPLOYING
    assert stage.deployment().run == known
    stage.run_ends(BuildStatus.FAILED)
    assert (stage.state(), stage.deployment().outcome) == (S.FAILED, "run_failed")


def test_the_system_itself_is_believed(stage: Stage) -> None:
    """After a claim that was true, the deployment ends when the CI system says so, and once."""
    stage.ask(f"deploy {SERVICE} v1 to staging")
    stage.go_on(5)
    stage.world.accept(claim(stage, "1", correlation(stage)))
    stage.go_on(5)
    assert stage.state() is S.DEPLOYING
    stage.run_ends()
    assert (stage.state(), len(stage.runs())) == (S.SUCCEEDED, 1)


def test_a_claim_stands_in_for_no_run_that_is_unknown(stage: Stage) -> None:
    """The order's answer was lost, and somebody tells of a run with our correlation: it is looked for all the same."""
    stage.builds.loses_answers, stage.builds.away = True, {"find_run"}
    stage.ask(f"deploy {SERVICE} v1 to staging")
    stage.go_on()
    stage.world.accept(claim(stage, "7", correlation(stage)))
    stage.go_on(120)
    run = stage.deployment().run
    assert run is not None
    assert (stage.state(), run.request, run.build) == (S.DEPLOYING, "", "")
    stage.builds.loses_answers, stage.builds.away = False, set()
    stage.go_on(10)
    stage.run_ends()
    run = stage.deployment().run
    assert run is not None
    assert (stage.state(), run.build) == (S.SUCCEEDED, f"build:buildbot/{DEPLOY_PROJECT}#1")
