"""How a service did while it was verified: on its card and in lists when it has ended, never waited for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest
from sqlalchemy import Engine

from bot.domain.cards import Card, Lines
from bot.domain.checks import Verdict
from bot.domain.deployments import DeploymentState
from bot.errors import Unavailable
from bot.ports.metrics import DeploymentMetrics, Figure
from tests.services.deployment_world import CHECK, SERVICE, Stage, a_stage
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

KNOWN = {Figure.AVAILABILITY: 99.95, Figure.LATENCY: 0.1204, Figure.ERROR_RATE: 0.002}


@dataclass
class FakeFigures:
    """Answers with `known` unless it is `away`; what it was asked for is kept."""

    known: Mapping[Figure, float] = field(default_factory=lambda: KNOWN)
    away: bool = False
    asked: list[tuple[str, float]] = field(default_factory=list)

    def get_deployment_metrics(self, values: Mapping[str, str], *, start: float, end: float) -> DeploymentMetrics:
        """See `DeploymentMetricSource`."""
        self.asked.append((values["version"], round(end - start)))
        if self.away:
            raise Unavailable("prometheus", "unreachable")
        return DeploymentMetrics(self.known, {})


@pytest.fixture
def figures() -> FakeFigures:
    """What knows the figures."""
    return FakeFigures()


@pytest.fixture
def stage(store: SqlStore, database: Engine, figures: FakeFigures) -> Stage:
    """A service whose check is measured by a system that knows figures."""
    stage = a_stage(store, database, checks=(replace(CHECK, source="prometheus"),))
    stage.verification.figured = {"prometheus": figures}
    return stage


def last_line(card: Card) -> str:
    """The last line about the checks."""
    [checks] = [one for one in card.sections if isinstance(one, Lines) and one.title == "Checks"]
    return "".join(getattr(part, "text", "") for part in checks.items[-1])


def test_a_good_deployment_tells_how_its_service_did(stage: Stage, figures: FakeFigures) -> None:
    """Once, over the time of its verification, on the card that says it is done, and in the list."""
    stage.good("v1")
    assert last_line(stage.card()) == "📊 up 99.95 % · p95 120 ms · errors 0.2 %"
    assert figures.asked == [("v1", 30)]
    stage.ask(f"deployments {SERVICE}")
    _, answer, _ = stage.world.responder.answers[-1]
    assert "p95 120 ms · errors 0.2 %" in str(answer)


def test_a_rollback_does_not_wait_for_figures(stage: Stage, figures: FakeFigures) -> None:
    """What failed is told of after its rollback was begun."""
    stage.good("v1")
    stage.verification.verdicts["health@v2"] = Verdict.FAILED
    figures.known = {Figure.ERROR_RATE: 0.5}
    stage.build("v2")
    stage.ask(f"deploy {SERVICE} v2 to production")
    for typed, person in (("confirm", "U1"), ("approve", "U2"), ("approve", "U3")):
        stage.ask(f"{typed} {SERVICE}#2", person)
    stage.go_on(1)
    stage.run_ends()
    assert stage.state(2) is DeploymentState.ROLLING_BACK
    assert last_line(stage.card(2)) == "📊 errors 50 %"


def test_nobody_to_ask_is_no_trouble(stage: Stage, figures: FakeFigures) -> None:
    """The deployment ends as it would, without a line."""
    figures.away = True
    stage.good("v1")
    assert stage.deployment().figures == ()
    assert last_line(stage.card()).startswith("✅")
