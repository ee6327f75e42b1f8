"""Charts of checks: words for who asks, and a picture below the card, once, where pictures can be shown."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from sqlalchemy import Engine

from bot.domain.cards import Card, Notice, Picture
from bot.domain.checks import CheckKind, CheckSpec
from bot.domain.deployments import DeploymentState
from bot.domain.places import CHART_SLOT
from bot.errors import OutcomeUnknown, Rejected
from bot.ports.charts import Chart
from bot.ports.metrics import Point
from bot.services.presenters.chart import chart_of, sparkline, stored
from tests.metric_fakes import FakeMetricSource
from tests.services.deployment_world import CHECK, SERVICE, Stage, a_stage
from tests.services.world import CI
from tests.stores import SqlStore

pytestmark = pytest.mark.one_engine

ERRORS = CheckSpec(
    "errors", CheckKind.METRIC, source="prometheus", query="errors", max_value=0.01, duration_s=30.0, interval_s=10.0
)
LATENCY = replace(ERRORS, name="latency", query="p95", max_value=0.5)


@dataclass
class FakeCharts:
    """Draws a chart as the name of it; `missing` is a host without the extra."""

    missing: bool = False
    drawn: list[Chart] = field(default_factory=list)

    def is_available(self) -> bool:
        """See `Charts`."""
        return not self.missing

    def can_draw(self, text: str) -> bool:
        """See `Charts`."""
        return text.isascii()

    def render_png(self, chart: Chart) -> bytes:
        """See `Charts`."""
        self.drawn.append(chart)
        return chart.title.encode()


@pytest.fixture
def charts() -> FakeCharts:
    """What draws."""
    return FakeCharts()


@pytest.fixture
def stage(store: SqlStore, database: Engine, charts: FakeCharts) -> Stage:
    """A good deployment with two checks by metrics, and its card where pictures are taken."""
    metrics = FakeMetricSource({"errors": {"": 0.004}, "p95": {"a": 0.2, "b": 0.3}})
    stage = a_stage(store, database, checks=(CHECK, LATENCY, ERRORS), charts=charts)
    stage.verification.sources = {"prometheus": metrics}
    stage.world.messenger.can_upload = True
    stage.good("v1")
    stage.world.deliver(5)
    return stage


def answered(stage: Stage) -> Card:
    """The newest answer."""
    _, content, _ = stage.world.responder.answers[-1]
    assert isinstance(content, Card)
    return content


def pictures(stage: Stage) -> list[Picture]:
    """What was uploaded below cards."""
    shown = [call for call in stage.world.messenger.calls if isinstance(call.content, Notice) and call.parent]
    return [call.content.picture for call in shown if isinstance(call.content, Notice) and call.content.picture]


def test_who_asks_gets_words_at_once_and_a_picture_below_the_card(stage: Stage, charts: FakeCharts) -> None:
    """The check that was named is told in words, and drawn with its limit and the start of the deployment."""
    stage.ask(f"chart {SERVICE}#1 errors")
    said = answered(stage)
    assert said.title == f"errors · {SERVICE}#1 v1 → production"
    assert [(one.label, one.value[0].text) for one in said.fields] == [  # type: ignore[union-attr]  # plain texts
        ("Limit", "≤ 0.01"),
        ("Least and most", "0.004 … 0.004"),
    ]
    assert said.title_url is not None
    assert said.title_url.startswith("https://metrics.example.com/?q=errors")
    assert [one.command for one in said.actions if one.command] == [f"chart {SERVICE}#1 latency"]
    stage.world.deliver(5)
    assert [one.title for one in pictures(stage)] == [said.title]
    assert (charts.drawn[0].highest, list(charts.drawn[0].marks)) == (0.01, ["v1"])


def test_asking_again_uploads_nothing_again(stage: Stage) -> None:
    """A press that is repeated, or of another person, is answered in words; the picture is there."""
    for person in ("U1", "U2"):
        stage.ask(f"chart {SERVICE} errors", person)
        stage.world.deliver(5)
    assert len(pictures(stage)) == 1


def test_without_a_name_the_check_that_is_not_well_is_shown(stage: Stage) -> None:
    """Of several the first, or the first that failed."""
    stage.ask(f"图表{SERVICE}#1")
    assert answered(stage).title.startswith("latency · ")


def test_where_no_picture_can_be_shown_words_are_all(stage: Stage, charts: FakeCharts) -> None:
    """In DingTalk, and where the extra is not installed, nothing is uploaded, and nothing promised."""
    stage.ask(f"chart {SERVICE}#1", "m1")
    charts.missing = True
    stage.ask(f"chart {SERVICE}#1")
    assert answered(stage).footer == ()
    stage.world.deliver(5)
    assert pictures(stage) == []


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        (f"chart {SERVICE}#1 health", "There is no such check with a value over time. There are: latency, errors"),
        ("chart nothing", "I know no service of that name."),
        (f"chart {SERVICE}#99", "I know no such deployment."),
        ("chart payment-service#1", "I know no such deployment."),
        ("chart", "Something is missing."),
    ],
)
def test_what_cannot_be_drawn_is_said(stage: Stage, typed: str, answer: str) -> None:
    """Checks without values over time, unknown services and deployments are named."""
    assert stage.ask(typed).startswith(answer)


def test_a_later_state_of_the_deployment_leaves_the_picture_alone(stage: Stage, charts: FakeCharts) -> None:
    """A revision of the subject draws nothing anew."""
    stage.good("v2")
    stage.ask(f"chart {SERVICE}#2 errors")
    stage.world.deliver(5)
    stage.ask(f"rollback {SERVICE} in production")
    stage.ask(f"confirm {SERVICE}#3")
    stage.go_on(1)
    assert stage.deployment(2).state is DeploymentState.ROLLING_BACK
    stage.world.deliver(30)
    slots = stage.world.store.read(lambda tx: tx.cards.of_subject(f"deployment:shipmate/{SERVICE}#2"))
    assert [one.slot.split("@")[0] for one in slots].count(CHART_SLOT) == 1
    assert len(charts.drawn) == 1


def test_a_lost_answer_makes_no_second_picture(stage: Stage) -> None:
    """It was shared, though nobody heard so: the platform is asked, and it is there."""
    stage.world.messenger.fail(CI, OutcomeUnknown("slack", "no_answer"), is_done=True)
    stage.ask(f"chart {SERVICE}#1 errors")
    stage.world.deliver(60)
    assert len(pictures(stage)) == 1
    assert stage.world.attempt_outcomes()[-1] == "found"


def test_what_the_platform_refuses_is_given_up_alone(stage: Stage) -> None:
    """An app that may not upload loses the picture; its card goes on."""
    stage.world.messenger.fail(CI, Rejected("slack", "missing_scope", "files:write"))
    stage.ask(f"chart {SERVICE}#1 errors")
    stage.world.deliver(60)
    assert (pictures(stage), stage.world.attempt_outcomes()[-1]) == ([], "dead:missing_scope")
    stage.good("v2")
    assert stage.card(2).title.endswith("deployed")


def test_a_chart_is_stored_and_read_again() -> None:
    """Values that are no numbers, and those without an end, are gaps after the database."""
    line = [Point(1.0, 0.5), Point(2.0, float("nan")), Point(3.0, float("inf"))]
    again = chart_of(stored(Chart("errors", {"a": line}, highest=1.0, marks={"v1": 2.0})))
    assert [str(point.value) for point in again.lines["a"]] == ["0.5", "nan", "nan"]
    assert (again.title, again.highest, again.marks) == ("errors", 1.0, {"v1": 2.0})


def test_a_sparkline_has_a_sign_for_a_stretch_of_time() -> None:
    """The least value is lowest, the most highest; a gap is a blank."""
    values = [0.0, 1.0, 2.0, float("nan"), 7.0]
    assert sparkline([Point(float(at), value) for at, value in enumerate(values)]) == "▁▂▃ █"
    assert len(sparkline([Point(float(at), 1.0) for at in range(1000)])) == 40
