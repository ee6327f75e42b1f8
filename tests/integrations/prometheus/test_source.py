"""Against a real Prometheus: values and their odd forms, ranges, errors, logins, the figures of a deployment."""

from __future__ import annotations

import time
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from bot.errors import AuthFailed, Rejected
from bot.ports.metrics import Figure, Point, Query
from integrations.prometheus.config import Config
from integrations.prometheus.source import Prometheus
from tests.prometheus_server import HISTORY_S, PASSWORD, SERVICE, T0, USER, PrometheusServer, Scraped
from tests.waiting import wait_until

pytestmark = pytest.mark.prometheus

SAMPLE_OF_THE_OWNER = 'sum(rate(http_requests_total{status=~"5.."})[5m])'


@pytest.fixture
def source(prometheus: PrometheusServer, session: requests.Session) -> Prometheus:
    """The source under test."""
    return Prometheus(Config(url=prometheus.url), session)


def values(source: Prometheus, text: str, at: float = T0) -> dict[str, float]:
    """What a query gives at an instant."""
    return dict(source.value(Query(text, {"service": SERVICE, "window": "300s"}), start=at - 300, end=at).values)


def test_a_probe_tells_the_version(source: Prometheus) -> None:
    """The line that `shipmate check` shows."""
    assert source.probe().startswith("Prometheus 2.")
    assert source.probe().endswith(", answers queries")


def test_a_query_gives_its_value_at_the_time_asked_for(source: Prometheus) -> None:
    """Templates are filled in; the time is the caller's."""
    query = 'sum(rate(http_requests_total{job="{{service}}",status=~"5.."}[{{window}}]))'
    assert values(source, query) == {"{}": pytest.approx(1.0)}
    assert values(source, query, T0 - HISTORY_S // 2) == {"{}": 0.0}


def test_several_series_keep_their_labels(source: Prometheus) -> None:
    """So that a person can see which they are."""
    assert values(source, "queue_length") == {'queue_length{pod="a"}': 3.0, 'queue_length{pod="b"}': 5.0}


def test_a_number_is_a_value_without_labels(source: Prometheus) -> None:
    """A scalar is no vector, and has a value all the same."""
    assert values(source, "1 + 1") == {"": 2.0}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("vector(0) / 0", "nan"),
        ("vector(1) / 0", "inf"),
        ("-vector(1) / 0", "-inf"),
        ("0 / 0", "nan"),
        ("1 / 0", "inf"),
    ],
)
def test_what_json_has_no_number_for_is_read(source: Prometheus, text: str, shown: str) -> None:
    """They come as texts."""
    (value,) = values(source, text).values()
    assert repr(value) == shown


def test_nothing_found_is_an_empty_reading(source: Prometheus) -> None:
    """An answer of 200 with nothing in it; so is a time of which nothing is known."""
    assert values(source, 'up{job="none"}') == {}
    assert values(source, "queue_length", T0 - 10 * HISTORY_S) == {}


def test_a_value_stays_a_value_on_the_server_too(source: Prometheus) -> None:
    """Quotes and backslashes in a name reach the label they are compared with."""
    query = Query('odd{name="{{service}}"} or odd{name=~"{{service}}"}', {"service": 'say "hi" \\o/'})
    assert list(source.value(query, start=T0, end=T0).values.values()) == [1.0]


@pytest.mark.parametrize(
    ("text", "reason", "words"),
    [
        (SAMPLE_OF_THE_OWNER, "bad_data", "ranges only allowed for vector selectors"),
        ("queue_length + on() up", "execution", "many-to-one matching must be explicit"),
        ("queue_length[5m]", "no_value", "the query gives a matrix"),
        ('"text"', "no_value", "the query gives a string"),
        ("rate({{nothing}})", "bad_query", "{{nothing}} is no known name"),
    ],
)
def test_a_query_that_cannot_be_answered_is_rejected_with_the_reason(
    source: Prometheus, text: str, reason: str, words: str
) -> None:
    """In the server's own words."""
    with pytest.raises(Rejected) as refused:
        source.value(Query(text), start=T0 - 60, end=T0)
    assert refused.value.reason == reason
    assert words in refused.value.detail


def test_what_the_parser_refuses_the_server_refuses(source: Prometheus) -> None:
    """The query of the configuration is judged before it is asked for the first time."""
    with pytest.raises(ValueError, match="is no PromQL"):
        source.check_query(Query(SAMPLE_OF_THE_OWNER))
    lenient = Prometheus(Config(url="http://127.0.0.1:9", parse_queries=False), requests.Session())
    lenient.check_query(Query("rate(up)"))
    with pytest.raises(ValueError, match="is no known name"):
        lenient.check_query(Query("{{nothing}}"))


def test_a_range_has_a_point_each_step(source: Prometheus) -> None:
    """From the first instant to the last."""
    series = source.series(Query('queue_length{pod="a"}'), start=T0 - 60, end=T0, step_s=15)
    assert series.points == {'queue_length{pod="a"}': [Point(T0 - 60 + 15 * step, 3.0) for step in range(5)]}


def test_a_range_never_asks_for_more_points_than_the_server_gives(source: Prometheus) -> None:
    """A step that is too short for so long a time is made longer."""
    series = source.series(Query("vector(1)"), start=T0 - 30_000, end=T0, step_s=1)
    (points,) = series.points.values()
    assert 10_000 <= len(points) <= 11_000
    assert points[0].at == T0 - 30_000


def test_a_live_service_is_seen(source: Prometheus, scraped: Scraped) -> None:
    """What its /metrics says now, within seconds."""
    scraped.text = "visitors 11\n"
    found = wait_until(
        lambda: (now := values(source, 'visitors{job="live"}', time.time())) and 11.0 in now.values() and now,
        "the new value to be scraped",
    )
    assert len(found) == 1


def test_the_figures_of_a_deployment(source: Prometheus) -> None:
    """Availability, the 95th percentile of the latency and the error rate, over its time and as they went on."""
    metrics = source.get_deployment_metrics({"service": SERVICE}, start=T0 - HISTORY_S, end=T0)
    assert metrics.values == {
        Figure.AVAILABILITY: pytest.approx(90, abs=1.5),
        Figure.LATENCY: pytest.approx(0.3, abs=0.01),
        Figure.ERROR_RATE: pytest.approx(0.05, abs=0.002),
    }
    assert metrics.warnings == ()
    errors = metrics.points[Figure.ERROR_RATE]
    assert len(errors) >= 40
    assert errors[-1].value == pytest.approx(0.1)
    assert errors[10].value == 0.0


def test_figures_that_are_not_known_are_missing(prometheus: PrometheusServer, session: requests.Session) -> None:
    """A service nobody scrapes, a query that is left out, and one that gives too much."""
    config = Config(url=prometheus.url, queries={"latency": "", "error_rate": "queue_length"})
    metrics = Prometheus(config, session).get_deployment_metrics({"service": "other"}, start=T0 - 60, end=T0)
    assert metrics.values == {}
    assert metrics.warnings == ('error_rate: queue_length{pod="a"}, queue_length{pod="b"}',)


def test_a_link_leads_to_the_servers_graph(prometheus: PrometheusServer, session: requests.Session) -> None:
    """Over the time of the deployment, at the address that people use; one too long for a card is left out."""
    source = Prometheus(Config(url=prometheus.url, public_url="https://prom.example.com/"), session)
    link = source.link(Query('up{job="{{service}}"}', {"service": SERVICE}), start=T0 - 600, end=T0)
    assert link is not None
    parts = urlsplit(link)
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == "https://prom.example.com/graph"
    assert parse_qs(parts.query) == {
        "g0.expr": [f'up{{job="{SERVICE}"}}'],
        "g0.tab": ["0"],
        "g0.range_input": ["600s"],
        "g0.end_input": ["2023-11-14 22:13:20"],
    }
    assert source.link(Query("up + " * 900 + "up"), start=T0 - 600, end=T0) is None


def test_a_server_with_a_password_wants_it(guarded_prometheus: PrometheusServer, session: requests.Session) -> None:
    """Basic authentication with every call; without it, or with another, an operator has to act."""
    right = Config(url=guarded_prometheus.url, user=USER, password=PASSWORD)
    assert Prometheus(right, session).probe().endswith("answers queries")
    for config in (Config(url=right.url), Config(url=right.url, user=USER, password="guess")):
        with pytest.raises(AuthFailed, match="http_401"):
            Prometheus(config, session).probe()


def test_no_figure_of_nothing(source: Prometheus) -> None:
    """Without traffic there is no error rate: nothing divided by nothing is not taken for zero."""
    metrics = source.get_deployment_metrics({"service": SERVICE}, start=T0 + 90_000, end=T0 + 90_600)
    assert metrics.values == {}
