"""What carries deployments out is started by deployments alone: `run` and `retry` would pass by who must approve."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from bot.domain.builds import BuildStatus
from bot.domain.cards import Card
from bot.domain.identity import Role
from bot.domain.routing import Match, Route
from bot.domain.services import Pipeline, RollbackRule
from tests.services.deployment_world import DEPLOY_PROJECT, ROLES, SERVICE, Stage, a_service, a_stage
from tests.stores import SqlStore, event_of

pytestmark = pytest.mark.one_engine

REFUSED = f"Runs of {DEPLOY_PROJECT} deploy something: ask for a deployment, or a rollback."


@pytest.fixture
def stage(store: SqlStore, database: Engine) -> Stage:
    """A stage with somebody who may run, repeat and stop whatever the CI system has."""
    stage = a_stage(store, database)
    builder = Role("builder", frozenset({"slack:U7"}), frozenset({"run", "retry", "cancel"}))
    stage.world.house.requests.people.roles = (*ROLES, builder)
    return stage


def test_a_pipeline_is_not_run_by_hand(stage: Stage) -> None:
    """It would bring any version to production that nobody approved; the trail says who tried."""
    assert stage.ask(f"run {DEPLOY_PROJECT} version=v9 environment=production", "U7") == REFUSED
    assert stage.runs() == []
    assert stage.world.trail() == [("slack:U7", "run", f"buildbot/{DEPLOY_PROJECT}", "conflict:deploys")]


def test_an_earlier_deployment_is_not_repeated_by_hand(stage: Stage) -> None:
    """Its run would bring a version back that was approved at another time; who may do nothing learns no more."""
    stage.good("v1")
    stage.good("v2")
    asked = len(stage.builds.requests)
    assert stage.ask(f"retry {DEPLOY_PROJECT}#1", "U7") == REFUSED
    assert stage.ask(f"retry {DEPLOY_PROJECT}#1", "U9").startswith("You have no role here")
    assert len(stage.builds.requests) == asked


def test_builds_are_run_and_pipelines_stopped_as_ever(stage: Stage) -> None:
    """What is refused is to start one; a project whose builds are versions is built, whatever else it does."""
    assert stage.ask(f"run {SERVICE} version=v1", "U7").startswith("Started build")
    stage.carried_out("v1", is_run_ended=False)
    assert "is being cancelled" in stage.ask(f"cancel {DEPLOY_PROJECT}#1", "U7")
    both = a_service(deploy=Pipeline("buildbot", SERVICE))
    stage.restart({SERVICE: both})
    assert not stage.world.sources.deploys("buildbot", SERVICE)


@pytest.mark.parametrize(("project", "ended"), [(SERVICE, ["retry", "details"]), (DEPLOY_PROJECT, ["details"])])
def test_a_card_offers_no_repetition_of_what_deploys(
    store: SqlStore, database: Engine, project: str, ended: list[str]
) -> None:
    """The press would be refused, whoever makes it; what runs can be stopped."""
    world = a_stage(store, database, routes=(Route("routes[0]", Match(), ("ci",)),)).world

    def offered(status: BuildStatus) -> list[str]:
        world.accept(event_of(12, status, project=project))
        world.deliver(5)
        cards = [call.content for call in world.messenger.calls if isinstance(call.content, Card)]
        return [one.id for one in cards[-1].actions]

    assert offered(BuildStatus.RUNNING) == ["cancel", "details"]
    assert offered(BuildStatus.FAILED) == ended


@pytest.mark.parametrize(
    ("project", "named", "is_meant"),
    [
        ("deploy-{{service}}-{{environment}}", f"deploy-{SERVICE}-production", True),
        ("deploy-{{service}}-{{environment}}", f"deploy-{SERVICE}-staging", False),
        ("deploy.{{version}}", "deploy.v1", True),
        ("deploy.{{version}}", "deploy-v1", False),
    ],
)
def test_pipelines_are_known_by_their_templates(project: str, named: str, is_meant: bool) -> None:
    """Service and environment are known, a version may be any; those of rollbacks are pipelines as well."""
    other = Pipeline("buildbot", "other")
    assert a_service(deploy=Pipeline("buildbot", project)).is_deployed_by("buildbot", named) is is_meant
    undoing = a_service(deploy=other, rollback=RollbackRule(pipeline=Pipeline("buildbot", project)))
    assert undoing.is_deployed_by("buildbot", named) is is_meant
    assert not undoing.is_deployed_by("jenkins", named)
