"""How checks and deployments go together: what is measured when, who answers for what, what is taken out meanwhile."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from bot.domain.checks import CheckKind, CheckSpec
from bot.domain.deployments import DeploymentState
from bot.services.verification import Verification
from tests.metric_fakes import FakeMetricSource
from tests.services.deployment_world import SERVICE, Stage, a_stage
from tests.stores import SqlStore

S = DeploymentState
RATE = CheckSpec("errors", CheckKind.METRIC, source="prometheus", query="e[{{window}}]", max_value=0.01, successes=1)


@pytest.mark.parametrize("before", [0.0, 0.5], ids=["well", "ill"])
def test_a_value_from_before_the_end_of_a_long_run_is_never_asked_for(
    store: SqlStore, database: Engine, before: float
) -> None:
    """A pipeline of ten minutes: neither the old version's health nor its errors speak for the new one."""
    source = FakeMetricSource({"e[60s]": {"": 0.5 - before}, "e[300s]": {"": before}})
    stage = a_stage(store, database, checks=(RATE,))
    stage.world.deployments = stage.world.house.worker(Verification({"prometheus": source}))
    number = _deploying(stage)
    stage.go_on(600)
    stage.run_ends()
    stage.go_on(15)  # it is looked at less often by then
    there_since = stage.deployment(number).checks[0].began_at
    stage.go_on(61)
    times = [(query, round(start - there_since), round(end - there_since)) for query, start, end in source.asked]
    assert times == [("e[60s]", 0, 60)]
    assert stage.state(number) is (S.SUCCEEDED if before else S.FAILED)


def _deploying(stage: Stage) -> int:
    """v1 as far as its run; its number."""
    stage.build("v1")
    stage.ask(f"deploy {SERVICE} v1 to production")
    for typed, person in (("confirm", "U1"), ("approve", "U2"), ("approve", "U3")):
        stage.ask(f"{typed} {SERVICE}#1", person)
    stage.go_on(1)
    assert stage.state(1) is S.DEPLOYING
    return 1
