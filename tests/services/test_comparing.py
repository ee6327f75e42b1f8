"""What `compare` takes for the time before: one in which a good version was there."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import Engine

from bot.domain.checks import CheckKind, Verdict
from bot.domain.deployments import DeploymentState
from bot.domain.services import RollbackRule
from tests.services.deployment_world import CHECK, a_stage
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

S = DeploymentState
COMPARED = replace(CHECK, name="latency", kind=CheckKind.COMPARE, source="prometheus", query="x", max_ratio=1.5)


def test_a_rollback_is_compared_with_the_time_before_what_it_undoes(store: SqlStore, database: Engine) -> None:
    """The bad version may fail so fast that the good one looks slow beside it."""
    stage = a_stage(store, database, checks=(COMPARED,))
    stage.good("v1")
    assert stage.verification.contexts[-1].well_until == stage.deployment(1).started_at
    stage.verification.verdicts["latency@v2"] = Verdict.FAILED
    stage.carried_out("v2")
    stage.go_on(120)
    stage.run_ends()
    stage.go_on(120)
    assert (stage.state(2), stage.state(3)) == (S.ROLLED_BACK, S.SUCCEEDED)
    assert stage.verification.contexts[-1].version == "v1"
    assert stage.verification.contexts[-1].well_until == stage.deployment(2).started_at


def test_what_follows_failures_is_compared_with_the_time_before_them(store: SqlStore, database: Engine) -> None:
    """Two bad versions were left there; what comes after the good one that mends it is compared with that one."""
    stage = a_stage(store, database, checks=(COMPARED,), rollback=RollbackRule(is_enabled=False))
    stage.good("v1")
    stage.verification.verdicts |= {"latency@v2": Verdict.FAILED, "latency@v3": Verdict.FAILED}
    for version in ("v2", "v3"):
        stage.carried_out(version)
        stage.go_on(120)
    stage.good("v4")
    assert stage.verification.contexts[-1].well_until == stage.deployment(2).started_at
    stage.good("v5")
    assert stage.verification.contexts[-1].well_until == stage.deployment(5).started_at
