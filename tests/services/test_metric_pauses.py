"""A metrics system that wants to be left alone is, by every check and every worker; only what lasts is an error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from sqlalchemy import Engine

from bot.domain.checks import LONGEST_HELD_S, CheckKind, CheckSpec, Reason, Verdict
from bot.domain.deployments import DeploymentState
from bot.errors import RateLimited
from bot.services.verification import Verification
from tests.metric_fakes import FakeMetricSource
from tests.services.deployment_world import SERVICE, Stage, a_stage
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

S = DeploymentState
ERRORS = CheckSpec(
    "errors", CheckKind.METRIC, "prometheus", "errors[{{window}}]", max_value=1, interval_s=10.0, duration_s=90.0
)
CHECKS = (ERRORS, replace(ERRORS, name="latency", query="latency[{{window}}]"))
OTHER = replace(ERRORS, name="memory", source="datadog", query="memory[{{window}}]")


def well() -> FakeMetricSource:
    """A system that finds every value to be in order."""
    return FakeMetricSource(otherwise={"": 0.5})


@pytest.fixture
def source() -> FakeMetricSource:
    """The system that two checks ask."""
    return well()


def refusing(seconds: float) -> RateLimited:
    """A 429 that asks for so long a pause."""
    return RateLimited("prometheus", "rate_limited", seconds, scope="account")


def verified(
    store: SqlStore, database: Engine, source: FakeMetricSource, checks: Sequence[CheckSpec] = CHECKS
) -> Stage:
    """A deployment whose run went well a minute ago: its checks are about to look for the first time."""
    stage = a_stage(store, database, checks=checks)
    stage.world.deployments = stage.world.house.worker(Verification({"prometheus": source, "datadog": well()}))
    stage.carried_out("v1")
    stage.go_on(50)
    assert (stage.state(), source.asked) == (S.VERIFYING, [])
    return stage


def test_a_refusal_of_one_puts_all_off(store: SqlStore, database: Engine, source: FakeMetricSource) -> None:
    """For as long as the system asks: nobody asks meanwhile, those of other systems go on, and nothing went wrong."""
    later = replace(ERRORS, name="later", delay_s=65.0)
    stage = verified(store, database, source, (ERRORS, later, OTHER))
    source.down = refusing(35)
    stage.go_on(10)
    assert len(source.asked) == 1
    source.down = None
    stage.go_on(30)
    assert len(source.asked) == 1
    checks = {one.name: one for one in stage.deployment().checks}
    assert [(one.errors, one.last_reason) for one in (checks["errors"], checks["later"])] == [(0, Reason.UNASKED)] * 2
    assert checks["memory"].passes >= 3
    stage.go_on(90)
    after = stage.deployment()
    assert (after.state, [one.errors for one in after.checks]) == (S.SUCCEEDED, [0, 0, 0])


def test_a_held_check_watches_for_its_whole_duration(
    store: SqlStore, database: Engine, source: FakeMetricSource
) -> None:
    """Its end moves by as long as it was held: half a minute without a look is no half minute of health."""
    stage = verified(store, database, source, CHECKS[:1])
    source.down = refusing(30)
    began = stage.deployment().checks[0]
    stage.go_on(10)
    source.down = None
    held = stage.deployment().checks[0]
    assert 30 <= held.held_s < 32
    assert held.ends_at - began.ends_at == pytest.approx(held.held_s, abs=2)
    assert type(held).from_json(held.to_json()) == held


def test_after_a_pause_one_asks_first(store: SqlStore, database: Engine, source: FakeMetricSource) -> None:
    """A system that refuses again is refused by one call, however many checks wait for it."""
    stage = verified(store, database, source)
    source.down = refusing(30)
    stage.go_on(10)
    asked = len(source.asked)
    assert asked == 2  # side by side, before anybody knew
    stage.go_on(32)
    assert len(source.asked) == asked + 1
    assert all(one.errors == 0 for one in stage.deployment().checks)


def test_a_pause_is_every_workers(store: SqlStore, database: Engine, source: FakeMetricSource) -> None:
    """Another worker, with a session of its own, heeds what this one was told."""
    stage = verified(store, database, source)
    source.down = refusing(200)
    stage.go_on(10)
    other = well()
    stage.world.deployments = stage.world.house.worker(Verification({"prometheus": other}))
    stage.go_on(60)
    assert other.asked == []
    stage.go_on(150)
    assert other.asked


def test_what_lasts_is_an_error(store: SqlStore, database: Engine, source: FakeMetricSource) -> None:
    """After ten minutes of refusals people are asked, as of any system that does not answer."""
    stage = verified(store, database, source, CHECKS[:1])
    source.down = refusing(100)
    for _ in range(12):
        stage.go_on(101)
    after = stage.deployment()
    assert (after.state, after.asked_about) == (S.VERIFYING, ("errors",))
    assert after.checks[0].verdict is Verdict.ERROR
    assert after.checks[0].held_s <= LONGEST_HELD_S
    assert len(source.asked) <= 12
    assert f"keep {SERVICE}#1 errors" in [action.command for action in stage.card().actions]
