"""What is asked of a deployment and cannot be as things stand: said to its person, and on the audit trail, once."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from bot.domain.deployments import DeploymentState
from bot.services.steps import STEP_S
from tests.services.deployment_world import SERVICE, Stage, a_stage
from tests.services.test_linking import give
from tests.services.test_owed import die_before_saying
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

S = DeploymentState
ABOUT = f"deployment:shipmate/{SERVICE}#1 production"


@pytest.fixture
def stage(store: SqlStore, database: Engine) -> Stage:
    """A deployment to production that has all its approvals, and begins."""
    stage = a_stage(store, database)
    stage.approved("U2", "U3")
    stage.go_on(1)
    assert stage.state() is S.DEPLOYING
    return stage


@pytest.mark.parametrize(
    ("typed", "person", "said"),
    [
        (f"approve {SERVICE}#1", "m2", f"{SERVICE}#1 waits for no approval."),
        ("approve 1", "m2", f"{SERVICE}#1 waits for no approval."),
        (f"revoke {SERVICE}#1", "U2", "It has started: an approval cannot be taken back any more."),
        (f"reject {SERVICE}#1 not on a Friday", "U3", "Too late"),
        (f"confirm {SERVICE}#1", "U1", f"{SERVICE}#1 is confirmed already."),
        (f"keep {SERVICE}#1", "U1", f"{SERVICE}#1 asks nothing at the moment."),
    ],
)
def test_what_comes_too_late_is_on_the_trail(stage: Stage, typed: str, person: str, said: str) -> None:
    """Who tried, what about and why it came to nothing; the deployment goes on."""
    before = stage.world.trail()
    stage.ask(typed, person)
    [(actor, verb, target, outcome)] = stage.world.trail()[len(before) :]
    assert (actor.partition(":")[2], verb, target) == (person, typed.partition(" ")[0], ABOUT)
    assert outcome.startswith(f"conflict:{said}"), outcome
    assert stage.state() is S.DEPLOYING


def test_who_may_not_confirm_it_is_on_the_trail(store: SqlStore, database: Engine) -> None:
    """Another one's preview is nothing for whoever has the role to ask."""
    stage = a_stage(store, database)
    stage.build("v1")
    stage.ask(f"deploy {SERVICE} v1 to production")
    stage.ask(f"confirm {SERVICE}#1", "m1")
    assert stage.world.trail()[-1] == (
        "dingtalk:m1",
        "confirm",
        ABOUT,
        "conflict:Only U1, who asked for it, can confirm this.",
    )


def test_who_would_approve_what_they_asked_for_is_on_the_trail(store: SqlStore, database: Engine) -> None:
    """They have the role; it is their own deployment."""
    stage = a_stage(store, database)
    give(stage, "release", "slack:U1")
    stage.build("v1")
    for typed in (f"deploy {SERVICE} v1 to production", f"confirm {SERVICE}#1", f"approve {SERVICE}#1"):
        stage.ask(typed)
    said = "conflict:You asked for this deployment: somebody else must approve it."
    assert stage.world.trail()[-1] == ("slack:U1", "approve", ABOUT, said)


def test_what_cannot_be_asked_for_is_on_the_trail(store: SqlStore, database: Engine) -> None:
    """In the words of whoever asked: there is no deployment yet that it could be about."""
    stage = a_stage(store, database, after="staging")
    stage.build("v1")
    stage.ask(f"deploy {SERVICE} v1 to production")
    stage.ask(f"rollback {SERVICE} in production")
    assert [(verb, target, outcome) for _, verb, target, outcome in stage.world.trail()] == [
        ("deploy", f"{SERVICE} v1 to production", "conflict:v1 has to succeed in staging first."),
        ("rollback", f"{SERVICE} in production", "conflict:Nothing was deployed there yet."),
    ]


def test_it_is_said_by_whoever_takes_over(stage: Stage) -> None:
    """The worker died before it said so: the person is told once all the same, and the trail has one entry."""
    world, told = stage.world, len(stage.told("slack:U2"))
    before = len(world.trail())
    world.ask(f"approve {SERVICE}#1", "U2")
    die_before_saying(world)
    world.work(STEP_S + 1)
    assert stage.told("slack:U2")[told:] == [f"{SERVICE}#1 waits for no approval."]
    assert [outcome for *_, outcome in world.trail()[before:]] == [f"conflict:{SERVICE}#1 waits for no approval."]
