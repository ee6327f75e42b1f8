"""Deployments whose checks are answered with nonsense, or not at all: no such answer makes a success."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from sqlalchemy import Engine

from bot.domain.cards import Notice
from bot.domain.checks import DEFAULT_POLICIES, CheckKind, CheckSpec, Policy, Reason, Verdict
from bot.domain.deployments import DeploymentState
from bot.domain.routing import Match, Route
from bot.errors import Unavailable
from bot.services.verification import Verification
from tests.metric_fakes import FakeMetricSource
from tests.services.deployment_world import CHECK, SERVICE, Stage, a_stage
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

ERRORS = CheckSpec(
    "errors",
    CheckKind.METRIC,
    source="prometheus",
    query="errors",
    max_value=0.01,
    window_s=5.0,
    duration_s=30.0,
    interval_s=10.0,
)
GOOD = {"": 0.001}
DOWN = Unavailable("prometheus", "unreachable")


@pytest.fixture
def source() -> FakeMetricSource:
    """The system that measures."""
    return FakeMetricSource({"errors": GOOD})


@pytest.fixture
def stage(store: SqlStore, database: Engine, source: FakeMetricSource) -> Stage:
    """A service that is verified by that system alone; v1 is there."""
    stage = a_stage(store, database, checks=(ERRORS,))
    stage.world.deployments = stage.world.house.worker(Verification({"prometheus": source}))
    stage.good("v1")
    return stage


def verify(stage: Stage, version: str) -> int:
    """Bring a version as far as its verification; its number."""
    number = stage.carried_out(version)
    assert stage.state(number) is DeploymentState.VERIFYING
    return number


@pytest.mark.parametrize(
    ("answer", "verdict", "reason"),
    [
        ({"": float("nan")}, Verdict.NO_DATA, Reason.NOT_A_NUMBER),
        ({}, Verdict.NO_DATA, Reason.NO_SERIES),
        ({"a": 0.001, "b": 0.002}, Verdict.ERROR, Reason.SEVERAL_SERIES),
        (DOWN, Verdict.ERROR, Reason.UNASKED),
    ],
)
def test_what_tells_nothing_asks_people_and_fails_unanswered(
    stage: Stage, source: FakeMetricSource, answer: Mapping[str, float] | Exception, verdict: Verdict, reason: Reason
) -> None:
    """The first look was good, the rest is not: somebody is asked, and half an hour of silence is a failure."""
    number = verify(stage, "v2")
    source.answers["errors"] = answer
    stage.go_on(60)
    [check] = stage.deployment(number).checks
    assert (check.verdict, check.last_reason) == (verdict, reason)
    assert (stage.state(number), stage.deployment(number).question) == (DeploymentState.VERIFYING, "checks:errors")
    stage.go_on(2000)
    assert (stage.state(number), stage.deployment(number).outcome) == (DeploymentState.ROLLING_BACK, "not_answered")


def test_an_endless_value_fails_and_is_kept(stage: Stage, source: FakeMetricSource) -> None:
    """A division by nothing is beyond the limit; both databases store it."""
    number = verify(stage, "v2")
    source.answers["errors"] = {"": float("inf")}
    stage.go_on(30)
    assert stage.state(number) is DeploymentState.ROLLING_BACK
    assert stage.deployment(number).checks[0].last_value == float("inf")


def test_an_endless_value_within_the_limits_is_an_error(
    store: SqlStore, database: Engine, source: FakeMetricSource
) -> None:
    """What is at least so much may well be nonsense: somebody is asked."""
    stage = a_stage(store, database, checks=(replace(ERRORS, max_value=None, min_value=0.5),))
    source.answers["errors"] = {"": 1.0}
    stage.world.deployments = stage.world.house.worker(Verification({"prometheus": source}))
    number = verify(stage, "v1")
    source.answers["errors"] = {"": float("inf")}
    stage.go_on(60)
    assert stage.deployment(number).checks[0].verdict is Verdict.ERROR
    assert stage.state(number) is DeploymentState.VERIFYING


def test_each_kind_of_question_calls_people(sqlite_store: SqlStore, sqlite_database: Engine) -> None:
    """They were called for a run that took long; they are called again for each check that cannot tell."""
    checks = (CHECK, replace(CHECK, name="slow", duration_s=50.0))
    stage = a_stage(sqlite_store, sqlite_database, timeout_s=100.0, checks=checks)
    stage.verification.verdicts = {"health": Verdict.NO_DATA, "slow": Verdict.NO_DATA}
    stage.build("v1")
    stage.ask(f"deploy {SERVICE} v1 to production")
    for typed, person in (("confirm", "U1"), ("approve", "U2"), ("approve", "U3")):
        stage.ask(f"{typed} {SERVICE}#1", person)
    stage.go_on(200)
    stage.card()
    stage.run_ends()
    for _ in range(2):
        stage.go_on(30)
        stage.card()
    notices = [call.title for call in stage.world.messenger.calls if isinstance(call.content, Notice)]
    about_checks = [title for title in notices if "some checks cannot tell" in title]
    assert [title for title in notices if "takes longer than it may" in title] != []
    assert len(about_checks) == 2


def test_time_to_answer_does_not_run_while_nobody_hears(sqlite_store: SqlStore, sqlite_database: Engine) -> None:
    """The bot was away for two hours: people have half an hour from when it is back."""
    stage = a_stage(sqlite_store, sqlite_database)
    stage.verification.verdicts = {"health": Verdict.NO_DATA}
    stage.carried_out("v1")
    stage.go_on(60)
    stage.world.clock.advance(7200)
    stage.go_on(1700)
    assert (stage.state(), stage.deployment().question) == (DeploymentState.VERIFYING, "checks:health")
    stage.go_on(150)
    assert stage.deployment().outcome == "not_answered"


def test_time_to_answer_counts_from_the_question(sqlite_store: SqlStore, sqlite_database: Engine) -> None:
    """A check that fails at once asks at once, however long it would have lasted; one that is kept changes nothing."""
    ask = {**DEFAULT_POLICIES, Verdict.FAILED: Policy.ASK}
    checks = tuple(replace(CHECK, name=name, on=ask, duration_s=7200.0) for name in ("health", "errors"))
    stage = a_stage(sqlite_store, sqlite_database, checks=checks)
    stage.verification.verdicts = {"health": Verdict.FAILED, "errors": Verdict.FAILED}
    stage.carried_out("v1")
    stage.go_on(1000)
    stage.ask(f"keep {SERVICE}#1 health")
    stage.go_on(750)
    assert (stage.state(), stage.deployment().question) == (DeploymentState.VERIFYING, "checks:errors")
    stage.go_on(100)
    assert stage.deployment().outcome == "not_answered"


def test_an_alert_calls_people(sqlite_store: SqlStore, sqlite_database: Engine) -> None:
    """It is deployed all the same: those whom the route names hear in the thread which check is not well."""
    route = Route("routes[0]", Match(kind=("deployment",)), ("ci",), mention=("slack:U7",))
    check = replace(CHECK, on={**DEFAULT_POLICIES, Verdict.FAILED: Policy.ALERT})
    stage = a_stage(sqlite_store, sqlite_database, checks=(check,), routes=(route,))
    stage.verification.verdicts = {"health": Verdict.FAILED}
    stage.carried_out("v1")
    stage.go_on(60)
    assert (stage.state(), stage.deployment().outcome) == (DeploymentState.SUCCEEDED, "with_alerts")
    stage.card()
    called = [call.content for call in stage.world.messenger.calls if isinstance(call.content, Notice)][-1]
    assert "Deployed, but some checks are not well. health" in str(called.body)
    assert [person.account for person in called.mentions] == ["slack:U7"]
