"""The configuration changes while a deployment goes its way: what begins is as it says then, what has begun goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import Engine

from bot.domain.builds import BuildStatus
from bot.domain.cards import Lines, Notice
from bot.domain.deployments import DeploymentState
from bot.domain.identity import Role
from bot.domain.services import ApprovalRule, Pipeline
from tests.services.deployment_world import DEPLOY_PROJECT, ROLES, SERVICE, Stage, a_service, a_stage
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

S = DeploymentState
OTHER_PROJECT = "ship-user-service"
SHIP = Pipeline("buildbot", OTHER_PROJECT, {"version": "{{version}}", "environment": "{{environment}}"})


@pytest.fixture
def stage(sqlite_store: SqlStore, sqlite_database: Engine) -> Stage:
    """Production asks for one approval."""
    stage = a_stage(sqlite_store, sqlite_database, approvals=ApprovalRule(1, ("release",)))
    stage.builds.projects = (*stage.builds.projects, OTHER_PROJECT)
    return stage


def configure(stage: Stage, **changed: object) -> None:
    """Start everything anew with other settings of production."""
    stage.restart({SERVICE: a_service(**changed)})


def approvals_said(stage: Stage) -> str:
    """The title of the approvals on the card."""
    return next(one.title for one in stage.card().sections if isinstance(one, Lines) and "Approvals" in one.title)


def test_more_approvals_are_demanded_by_the_start(stage: Stage) -> None:
    """It had all that were needed when it was asked for: it waits for another one, and who has not agreed is called."""
    stage.approved("U2")
    configure(stage, approvals=ApprovalRule(2, ("release",)))
    stage.go_on(20)
    waiting = stage.deployment()
    assert (waiting.state, waiting.outcome, stage.runs()) == (S.AWAITING_APPROVAL, "more_approvals", [])
    assert approvals_said(stage) == "Approvals: 1 of 2"
    notices = [call.content for call in stage.world.messenger.calls if isinstance(call.content, Notice)]
    again = next(one for one in notices if "waits for approval again" in str(one.body))
    assert [person.account for person in again.mentions] == ["slack:U3"]
    stage.ask(f"approve {SERVICE}#1", "U3")
    stage.go_on(20)
    assert (stage.state(), len(stage.runs())) == (S.DEPLOYING, 1)


def test_approvals_are_demanded_where_none_were(sqlite_store: SqlStore, sqlite_database: Engine) -> None:
    """It only waited for a lock to go: it waits for its approver then, as long as one that is asked for now."""
    stage = a_stage(sqlite_store, sqlite_database, approvals=ApprovalRule())
    stage.approved()
    stage.world.clock.advance(3600)
    configure(stage, approvals=ApprovalRule(1, ("release",)))
    stage.go_on(20)
    assert (stage.state(), stage.runs()) == (S.AWAITING_APPROVAL, [])
    assert "none were when it was asked for" in str(stage.card().sections[0])
    titles = [call.title for call in stage.world.messenger.calls if isinstance(call.content, Notice)]
    assert ["waits for approval" in title for title in titles] == [True]  # nobody was asked before: one call is enough
    stage.world.clock.advance(3 * 3600)
    stage.ask(f"approve {SERVICE}#1", "m2")
    stage.go_on(20)
    assert stage.state() is S.DEPLOYING


def test_other_approvers_are_demanded_by_the_start(stage: Stage) -> None:
    """Who approved is none of them: it is struck out, and one of the others approves."""
    leads = Role("leads", frozenset({"slack:U4"}), frozenset({"approve"}))
    stage.approved("U2")
    stage.restart({SERVICE: a_service(approvals=ApprovalRule(1, ("leads",)))}, (*ROLES, leads))
    stage.go_on(20)
    waiting = stage.deployment()
    assert (waiting.state, [one.account for one in waiting.struck], stage.runs()) == (
        S.AWAITING_APPROVAL,
        ["slack:U2"],
        [],
    )
    stage.ask(f"approve {SERVICE}#1", "U3")
    assert stage.state() is S.AWAITING_APPROVAL
    stage.ask(f"approve {SERVICE}#1", "U4")
    stage.go_on(20)
    assert stage.state() is S.DEPLOYING


def test_an_approval_counts_towards_what_is_demanded_now(stage: Stage) -> None:
    """It waits for its only approval when a second one becomes necessary: the first does not queue it any more."""
    stage.build("v1")
    stage.ask(f"deploy {SERVICE} v1 to production")
    stage.ask(f"confirm {SERVICE}#1")
    configure(stage, approvals=ApprovalRule(2, ("release",)))
    stage.ask(f"approve {SERVICE}#1", "U2")
    assert (stage.state(), approvals_said(stage)) == (S.AWAITING_APPROVAL, "Approvals: 1 of 2")


def test_fewer_approvals_change_nothing_for_what_waits(stage: Stage) -> None:
    """Two were shown to those who were asked: two it takes."""
    configure(stage, approvals=ApprovalRule(2, ("release",)))
    stage.build("v1")
    stage.ask(f"deploy {SERVICE} v1 to production")
    stage.ask(f"confirm {SERVICE}#1")
    configure(stage, approvals=ApprovalRule(1, ("release",)))
    stage.ask(f"approve {SERVICE}#1", "U2")
    stage.go_on(20)
    assert stage.state() is S.AWAITING_APPROVAL


def begun(stage: Stage, state: DeploymentState = S.DEPLOYING) -> None:
    """Bring v1 to production as far as its run, or to where that cannot be ordered."""
    stage.build("v1")
    for typed, person in (
        (f"deploy {SERVICE} v1 to production", "U1"),
        (f"confirm {SERVICE}#1", "U1"),
        (f"approve {SERVICE}#1", "U2"),
    ):
        stage.ask(typed, person)
    stage.go_on()
    assert stage.state() is state


def test_a_run_is_followed_where_it_was_asked_for(stage: Stage) -> None:
    """Another pipeline deploys by now, which has runs of the same numbers: this one goes on in its own."""
    begun(stage)
    stage.builds.finish(stage.builds.start(OTHER_PROJECT), BuildStatus.FAILED)
    configure(stage, deploy=SHIP)
    stage.go_on(20)
    assert stage.state() is S.DEPLOYING
    stage.run_ends()
    stage.go_on(60)
    assert (stage.state(), len(stage.builds.requests)) == (S.SUCCEEDED, 1)


def test_a_run_is_stopped_where_it_was_asked_for(stage: Stage) -> None:
    """Another pipeline deploys by now, and has a run of the same number: that one is left alone."""
    begun(stage)
    stranger = stage.builds.start(OTHER_PROJECT)
    configure(stage, deploy=SHIP)
    stage.ask(f"abort {SERVICE}#1")
    stage.go_on(20)
    assert (stage.state(), stage.deployment().outcome) == (S.CANCELLED, "stopped")
    assert not stage.builds.runs[stranger].is_finished


def test_a_run_of_a_lost_answer_is_looked_for_where_it_was_asked_for(stage: Stage) -> None:
    """It began, nobody knows of it, and another pipeline deploys by now: nothing runs twice."""
    stage.builds.loses_answers = True
    stage.builds.away = {"find_run"}
    begun(stage)
    configure(stage, deploy=SHIP)
    stage.builds.loses_answers, stage.builds.away = False, set()
    stage.go_on(120)
    assert [request.project for request in stage.builds.requests] == [DEPLOY_PROJECT]
    stage.run_ends()
    stage.go_on(60)
    assert stage.state() is S.SUCCEEDED


def test_a_run_that_never_was_is_asked_of_the_pipeline_of_now(stage: Stage) -> None:
    """Nothing had come of the order when the pipeline was changed."""
    stage.builds.away = {"run"}
    begun(stage, S.QUEUED)
    configure(stage, deploy=SHIP, approvals=ApprovalRule(1, ("release",)))
    stage.builds.away = set()
    stage.go_on(120)
    assert [request.project for request in stage.builds.requests] == [OTHER_PROJECT]
    assert stage.deployment().run.pipeline == OTHER_PROJECT  # type: ignore[union-attr]  # it has begun


@pytest.mark.parametrize("is_verified", [False, True])
def test_what_has_begun_of_a_service_that_is_gone_asks_people(stage: Stage, is_verified: bool) -> None:
    """Its card says so and calls for people; who may ends it, it is not rolled back, and the line is free."""
    stage.good("v0", "staging")
    configure(stage, approvals=ApprovalRule(), needs_confirmation=False)
    stage.build("v1")
    stage.ask(f"deploy {SERVICE} v1 to production")
    stage.go_on()
    number = 2
    if is_verified:
        stage.run_ends()
    before = stage.state(number)
    stage.restart({})
    stage.go_on(20)
    asked = stage.deployment(number)
    assert (asked.state, asked.question) == (before, "not_configured")
    assert "is not in the configuration any more" in str(stage.card(number).sections)
    assert "no role" in stage.ask(f"abort {SERVICE}#{number}", "U9")
    stage.ask(f"abort {SERVICE}#{number}")
    stage.go_on(20)
    ended = stage.deployment(number)
    assert (ended.state, ended.not_rolled_back, stage.newest()) == (S.FAILED, "not_configured", number)
    configure(stage, approvals=ApprovalRule(), needs_confirmation=False)
    stage.ask(f"deploy {SERVICE} v1 to production")
    stage.go_on(20)
    assert stage.state(number + 1) is S.DEPLOYING


def test_a_question_about_the_configuration_goes_with_its_cause(stage: Stage) -> None:
    """The service is back: its run is followed as if nothing had been."""
    begun(stage)
    stage.restart({})
    stage.go_on(20)
    assert stage.deployment().question == "not_configured"
    configure(stage)
    stage.go_on(20)
    assert (stage.state(), stage.deployment().question) == (S.DEPLOYING, "")


def test_a_run_at_a_system_that_is_gone_asks_people(stage: Stage) -> None:
    """Its service is deployed by another system by now, and nobody can ask the old one: a person ends it."""
    begun(stage)
    run = stage.deployment().run
    assert run is not None
    stage.world.store.write(
        lambda tx: tx.deployments.put(
            replace(stage.deployment(), run=replace(run, source="jenkins")), due_at=stage.world.clock.now().timestamp()
        )
    )
    stage.go_on(20)
    assert (stage.state(), stage.deployment().question) == (S.DEPLOYING, "not_configured")
    stage.ask(f"abort {SERVICE}#1")
    stage.go_on(20)
    assert (stage.state(), stage.deployment().outcome) == (S.FAILED, "not_configured")


def test_a_project_that_is_not_configured_any_more_ends_no_run(stage: Stage) -> None:
    """Its run goes on unseen, people are asked after a while, and nothing is ordered beside it until it is back."""
    stage.good("v0")
    stage.build("v1")
    number = stage.carried_out("v1", is_run_ended=False)
    stage.builds.projects = (SERVICE, OTHER_PROJECT)
    configure(stage, deploy=SHIP, approvals=ApprovalRule(1, ("release",)))
    stage.go_on(700)
    seen = stage.deployment(number)
    assert (seen.state, seen.question, len(stage.builds.requests), stage.newest()) == (
        S.DEPLOYING,
        "run_unseen",
        2,
        number,
    )
    stage.builds.projects = (*stage.builds.projects, DEPLOY_PROJECT)
    stage.go_on(20)
    stage.run_ends()
    stage.go_on(60)
    assert stage.state(number) is S.SUCCEEDED


def test_a_queued_deployment_by_a_system_that_is_gone_ends(stage: Stage) -> None:
    """Nothing can start its run by now: it ends before anything is said to have begun."""
    stage.approved("U2")
    configure(stage, deploy=replace(SHIP, source="generic"), approvals=ApprovalRule(1, ("release",)))
    stage.go_on(20)
    ended = stage.deployment()
    assert (ended.state, ended.outcome, ended.started_at) == (S.CANCELLED, "not_configured", 0.0)
