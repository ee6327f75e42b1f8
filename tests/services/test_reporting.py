"""Deployments and failures told to systems that keep DORA figures: once each, late if need be, waited for by nobody."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from sqlalchemy import Engine

from bot.domain.checks import Verdict
from bot.domain.deployments import Deployment, DeploymentState
from bot.errors import IntegrationError, Rejected, Unavailable
from bot.services.deployments.triggered import TriggeredDeployments
from bot.services.dispatcher import carry_out
from tests.services.deployment_world import SERVICE, Stage, a_stage
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

AWAY = Unavailable("datadog", "unreachable")


@dataclass
class FakeReports:
    """Keeps what it is told, or refuses it."""

    fault: IntegrationError | None = None
    told: list[tuple[str, str, bool]] = field(default_factory=list)
    tries: int = 0

    def takes(self, environment: str) -> bool:
        """See `DeploymentReports`."""
        return environment == "production"

    def report_deployment(self, deployment: Deployment) -> None:
        """See `DeploymentReports`."""
        self._take(f"{deployment.kind} {deployment.version.name}", deployment.state.value, is_over=True)

    def report_failure(self, deployment: Deployment, failed_at: float, restored_at: float | None) -> None:
        """See `DeploymentReports`."""
        assert restored_at is None or restored_at > failed_at
        self._take(f"failure of {deployment.version.name}", "since", is_over=restored_at is not None)

    def _take(self, what: str, state: str, *, is_over: bool) -> None:
        self.tries += 1
        if self.fault:
            raise self.fault
        self.told.append((what, state, is_over))


@pytest.fixture
def reports() -> FakeReports:
    """What keeps figures."""
    return FakeReports()


@pytest.fixture
def stage(store: SqlStore, database: Engine, reports: FakeReports) -> Stage:
    """A service whose deployments to production are told."""
    return a_stage(store, database, reports={"datadog": reports})


def tell(stage: Stage, seconds: float = 0.1) -> None:
    """Let what is to be told be told."""
    world = stage.world
    worker = world.trackers.worker(TriggeredDeployments(world.house.requests))
    end = world.clock.now().timestamp() + seconds
    while (due := world.store.read(lambda tx: tx.tracker_tasks.next_due_at())) is not None and due <= end:
        world.clock.advance(max(0.0, due - world.clock.now().timestamp()) + 1e-5)
        for task in worker.claim(4):
            carry_out(worker, task)


def fail(stage: Stage, version: str) -> int:
    """Deploy a version whose checks fail; its number."""
    stage.verification.verdicts[f"health@{version}"] = Verdict.FAILED
    number = stage.carried_out(version)
    assert stage.state(number) is DeploymentState.ROLLING_BACK
    return number


def test_a_deployment_is_told_once(stage: Stage, reports: FakeReports) -> None:
    """Of the environments that are wanted."""
    stage.good("v1", "staging")
    stage.good("v1")
    tell(stage)
    tell(stage, 3600)
    assert reports.told == [("deploy v1", "succeeded", True)]


def test_a_failure_is_told_and_told_again_when_it_is_over(stage: Stage, reports: FakeReports) -> None:
    """The bad version, the failure, the rollback, and the failure's end."""
    stage.good("v1")
    fail(stage, "v2")
    tell(stage)
    assert reports.told[1:] == [("deploy v2", "failed", True), ("failure of v2", "since", False)]
    stage.go_on(1)
    stage.run_ends()
    stage.go_on(60)
    tell(stage)
    assert reports.told[3:] == [("rollback v1", "succeeded", True), ("failure of v2", "since", True)]


def test_a_rollback_by_hand_is_a_failure(stage: Stage, reports: FakeReports) -> None:
    """What had succeeded is told as a failure from then until the version before is back."""
    stage.good("v1")
    stage.good("v2")
    stage.ask(f"rollback {SERVICE} in production")
    stage.ask(f"confirm {SERVICE}#3")
    stage.go_on(1)
    stage.run_ends()
    stage.go_on(60)
    tell(stage)
    assert reports.told[2:] == [
        ("failure of v2", "since", True),  # told when its end is known already
        ("rollback v1", "succeeded", True),
        ("failure of v2", "since", True),
    ]


def test_what_is_away_delays_nothing_and_is_told_later(stage: Stage, reports: FakeReports) -> None:
    """The deployment has long ended when the system is back; a failure that is over is not taken back."""
    reports.fault = AWAY
    stage.good("v1")
    fail(stage, "v2")
    tell(stage, 600)
    assert (reports.told, reports.tries > 6) == ([], True)
    stage.go_on(1)
    stage.run_ends()
    stage.go_on(60)
    reports.fault = None
    tell(stage, 3600)
    assert {what for what, _, _ in reports.told} == {"deploy v1", "deploy v2", "rollback v1", "failure of v2"}
    assert {is_over for _, _, is_over in reports.told} == {True}


def test_what_is_refused_is_given_up(stage: Stage, reports: FakeReports) -> None:
    """After a second try; the next deployment is told as if nothing had been."""
    reports.fault = Rejected("datadog", "bad_query", "id is too short")
    stage.good("v1")
    tell(stage, 3600)
    assert reports.tries == 2
    reports.fault = None
    stage.good("v2")
    tell(stage)
    assert reports.told == [("deploy v2", "succeeded", True)]


def test_what_changed_nothing_is_not_told(stage: Stage, reports: FakeReports) -> None:
    """A deployment whose checks could not be made never began."""
    stage.verification.problems = ["prometheus: unreachable"]
    stage.build("v1")
    stage.ask(f"deploy {SERVICE} v1 to production")
    for typed, person in (("confirm", "U1"), ("approve", "U2"), ("approve", "U3")):
        stage.ask(f"{typed} {SERVICE}#1", person)
    stage.go_on(1)
    assert stage.state() is DeploymentState.FAILED
    tell(stage, 60)
    assert reports.tries == 0
