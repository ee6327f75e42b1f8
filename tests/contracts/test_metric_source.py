"""What services rely on, of every system that measures: the fake's, a real Prometheus's and Datadog's alike."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from bot.errors import IntegrationError, Unavailable
from bot.ports.metrics import MetricSource, Query
from integrations.datadog.config import Config as DatadogConfig
from integrations.datadog.source import Datadog
from integrations.prometheus.config import Config as PrometheusConfig
from integrations.prometheus.source import Prometheus
from integrations.transport import open_session
from tests.answering import Answer, Asked
from tests.fakes import FakeClock
from tests.integrations.datadog.organisation import API_KEY, APPLICATION_KEY, Organisation, listening
from tests.metric_fakes import FakeMetricSource
from tests.prometheus_server import T0, PrometheusServer

VALUES = {"service": "web", "window": "300s"}
NOBODY = "http://127.0.0.1:9"


@dataclass
class Case:
    """A source, one of its kind that cannot be reached, and queries in its language."""

    source: MetricSource
    unreachable: MetricSource
    one: str
    nothing: str
    several: str
    broken: str


@pytest.fixture
def fake() -> Case:
    """The fake of the services' tests."""
    answers = {"one(web)": {"": 1.5}, "several": {"a": 1.0, "b": math.nan}}
    down = FakeMetricSource(down=Unavailable("fake", "unreachable"))
    return Case(FakeMetricSource(answers), down, "one({{service}})", "nothing", "several", "one(")


@pytest.fixture
def prometheus_case(prometheus: PrometheusServer) -> Iterator[Case]:
    """A real server."""
    with open_session() as session:
        yield Case(
            Prometheus(PrometheusConfig(url=prometheus.url), session),
            Prometheus(PrometheusConfig(url=NOBODY), session),
            "vector(1.5)",
            'up{job="{{service}}"}',
            'label_replace(vector(1), "pod", "a", "", "") or label_replace(vector(0) / 0, "pod", "b", "", "")',
            "rate(up)[5m]",
        )


@contextmanager
def datadog(api: str) -> Iterator[Case]:
    """The stand-in; what it answers is the same for every query but its rows."""
    organisation = Organisation()
    server = listening(organisation)
    keys = {"api_key": API_KEY, "application_key": APPLICATION_KEY, "api": api}

    rows = {"one": {(): [1.5]}, "nothing": {}, "several": {("pod:a",): [1.0], ("pod:b",): [None]}}

    def answer(asked: Asked) -> Answer:
        text = f"{asked.target}{asked.body!r}"
        organisation.rows = next((rows[name] for name in ("nothing", "several") if name in text), rows["one"])
        return organisation.answer(asked)

    server.answer = answer
    with open_session() as session:
        yield Case(
            Datadog(DatadogConfig(api_url=server.url, **keys), session, FakeClock()),
            Datadog(DatadogConfig(api_url=NOBODY, **keys), session, FakeClock()),
            "avg:one{service:{{service}}}",
            "avg:nothing{*}",
            "avg:several{*} by {pod}",
            "avg:one{",
        )
    server.close()
    assert organisation.problems == []


@pytest.fixture
def datadog_v1() -> Iterator[Case]:
    """By the first version of its API."""
    with datadog("v1") as case:
        yield case


@pytest.fixture
def datadog_v2() -> Iterator[Case]:
    """By the second one."""
    with datadog("v2") as case:
        yield case


@pytest.fixture(
    params=["fake", pytest.param("prometheus_case", marks=pytest.mark.prometheus), "datadog_v1", "datadog_v2"]
)
def case(request: pytest.FixtureRequest) -> Case:
    """Each in turn."""
    found: Case = request.getfixturevalue(request.param)
    return found


def test_a_probe_says_in_a_line_what_was_found(case: Case) -> None:
    """For people, without a line break."""
    assert case.source.probe()
    assert "\n" not in case.source.probe()


def test_a_value_is_read(case: Case) -> None:
    """One series, one number."""
    assert list(case.source.value(Query(case.one, VALUES), start=T0 - 60, end=T0).values.values()) == [1.5]


def test_nothing_found_is_an_empty_reading(case: Case) -> None:
    """Not an error, and no number."""
    assert case.source.value(Query(case.nothing, VALUES), start=T0 - 60, end=T0).values == {}


def test_series_are_told_apart_and_what_is_no_number_is_said_so(case: Case) -> None:
    """Each under its own labels."""
    values = case.source.value(Query(case.several, VALUES), start=T0 - 60, end=T0).values
    assert len(values) == 2
    assert sorted(map(math.isnan, values.values())) == [False, True]


def test_a_series_lies_within_the_time_asked_for(case: Case) -> None:
    """In order, in seconds since 1970."""
    (points,) = case.source.series(Query(case.one, VALUES), start=T0 - 60, end=T0, step_s=20).points.values()
    assert points
    assert [point.at for point in points] == sorted({point.at for point in points})
    assert all(T0 - 60 <= point.at <= T0 for point in points)


def test_what_can_be_no_query_is_refused_without_a_network(case: Case) -> None:
    """With words for whoever wrote it; what can be one is accepted."""
    case.unreachable.check_query(Query(case.one, VALUES))
    with pytest.raises(ValueError) as refused:
        case.unreachable.check_query(Query(case.broken, VALUES))
    assert str(refused.value)


def test_a_link_is_made_without_a_network(case: Case) -> None:
    """An address for people, or none."""
    link = case.unreachable.link(Query(case.one, VALUES), start=T0 - 60, end=T0)
    assert link is None or link.startswith(("http://", "https://"))


def test_a_system_that_is_down_raises_and_answers_nothing(case: Case) -> None:
    """Whatever it is asked."""
    query = Query(case.one, VALUES)
    for ask in (
        case.unreachable.probe,
        lambda: case.unreachable.value(query, start=T0 - 60, end=T0),
        lambda: case.unreachable.series(query, start=T0 - 60, end=T0, step_s=20),
    ):
        with pytest.raises(IntegrationError):
            ask()
