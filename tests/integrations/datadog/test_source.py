"""Values, series and monitors of Datadog, both versions of its API, and every way in which it says no."""

from __future__ import annotations

import json
import math

import pytest
import requests

from bot.domain.judging import MonitorStatus
from bot.errors import AuthFailed, DestinationGone, IntegrationError, RateLimited, Rejected, Unavailable
from bot.ports.metrics import MonitorState, Point, Query
from integrations.datadog.config import Config
from integrations.datadog.source import Datadog
from tests.answering import Answer, Answering
from tests.fakes import FakeClock
from tests.integrations.datadog.organisation import API_KEY, APPLICATION_KEY, Organisation

T0 = 1_700_000_000
RATE = Query(
    "sum:errors{service:{{service}}}.as_count() / sum:hits{service:{{service}}}.as_count()", {"service": "web"}
)
CPU = Query("avg:system.cpu.user{*} by {host}")


@pytest.fixture
def source(server: Answering, session: requests.Session) -> Datadog:
    """The source under test."""
    return connected(server, session)


def connected(server: Answering, session: requests.Session, **settings: str) -> Datadog:
    """A source with other settings."""
    section = {"api_url": server.url, "api_key": API_KEY, "application_key": APPLICATION_KEY, **settings}
    return Datadog(Config.model_validate(section), session, FakeClock())


def test_a_value_is_asked_as_queries_and_a_formula(source: Datadog, organisation: Organisation) -> None:
    """Each metric by itself, reduced over the time asked for in milliseconds."""
    organisation.rows = {(): [0.02]}
    assert source.value(RATE, start=T0, end=T0 + 300.5).values == {"": 0.02}
    assert organisation.bodies == [
        {
            "data": {
                "type": "scalar_request",
                "attributes": {
                    "from": T0 * 1000,
                    "to": T0 * 1000 + 300_500,
                    "queries": [
                        {
                            "data_source": "metrics",
                            "name": name,
                            "query": f"sum:{metric}{{service:web}}.as_count()",
                            "aggregator": "avg",
                        }
                        for name, metric in (("a", "errors"), ("b", "hits"))
                    ],
                    "formulas": [{"formula": "a / b"}],
                },
            }
        }
    ]


def test_groups_keep_their_tags(source: Datadog, organisation: Organisation) -> None:
    """A value each; what is null is not a number."""
    organisation.rows = {("host:a", "az:1"): [1.5], ("host:b", "az:1"): [None]}
    values = source.value(CPU, start=T0, end=T0 + 60).values
    assert list(values) == ["host:a, az:1", "host:b, az:1"]
    assert values["host:a, az:1"] == 1.5
    assert math.isnan(values["host:b, az:1"])


def test_nothing_found_is_an_empty_reading(source: Datadog, organisation: Organisation) -> None:
    """No series, no value."""
    organisation.rows = {}
    assert source.value(CPU, start=T0, end=T0 + 60).values == {}


@pytest.mark.parametrize(
    ("aggregator", "value"), [("avg", 0.5), ("min", 0.25), ("max", 0.75), ("sum", 1.5), ("last", 0.75)]
)
def test_the_first_version_leaves_the_reckoning_to_datadog(
    server: Answering, session: requests.Session, aggregator: str, value: float
) -> None:
    """The whole query in one, seconds instead of milliseconds; points that are null are left out."""
    source = connected(server, session, api="v1", aggregator=aggregator)
    assert source.value(RATE, start=T0 + 0.7, end=T0 + 300.2).values == {"*": value}
    (asked,) = server.asked
    assert asked.target.startswith(f"/api/v1/query?from={T0}&to={T0 + 301}&query=sum%3Aerrors")


def test_a_series_without_points_is_not_a_number(
    server: Answering, session: requests.Session, organisation: Organisation
) -> None:
    """Only nulls, or nothing at all."""
    organisation.rows = {("host:a",): [None, None], ("host:b",): []}
    values = connected(server, session, api="v1").value(CPU, start=T0, end=T0 + 60).values
    assert all(math.isnan(value) for value in values.values())
    assert len(values) == 2


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_a_series_goes_on_over_time(
    server: Answering, session: requests.Session, organisation: Organisation, api: str
) -> None:
    """Times in seconds, whatever the API has them in."""
    organisation.rows = {("host:a",): [1.0, 2.0], ("host:b",): [3.0, 4.0]}
    series = connected(server, session, api=api).series(CPU, start=T0, end=T0 + 60, step_s=20)
    assert series.points == {
        "host:a": [Point(T0, 1.0), Point(T0 + 20, 2.0)],
        "host:b": [Point(T0, 3.0), Point(T0 + 20, 4.0)],
    }


def test_a_probe_needs_both_keys(server: Answering, session: requests.Session) -> None:
    """One is asked about, the other is needed for a query; a key that is not good is the operator's to replace."""
    assert connected(server, session).probe() == "Datadog at datadoghq.com, both keys are good"
    for name in ("api_key", "application_key"):
        with pytest.raises(AuthFailed, match="http_403"):
            connected(server, session, **{name: "another"}).probe()


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("OK", MonitorStatus.OK),
        ("Warn", MonitorStatus.WARN),
        ("Alert", MonitorStatus.ALERT),
        ("No Data", MonitorStatus.SILENT),
        ("Skipped", MonitorStatus.SILENT),
        ("Ignored", MonitorStatus.SILENT),
        ("Unknown", MonitorStatus.SILENT),
    ],
)
def test_a_monitor_tells_how_it_stands(
    source: Datadog, organisation: Organisation, state: str, status: MonitorStatus
) -> None:
    """Only OK is well; with its name, and its page."""
    organisation.monitors[42] = {"id": 42, "name": "Error rate", "overall_state": state}
    page = "https://app.datadoghq.com/monitors/42"
    assert source.state("42") == MonitorState(status, f"Error rate: {state}", page)


def test_a_group_of_a_monitor_stands_by_itself(source: Datadog, organisation: Organisation) -> None:
    """Another service's alert is not ours; of several groups the worst counts, and silence is no health."""
    groups = {
        "service:web,host:a": {"status": "OK"},
        "service:web,host:b": {"status": "Warn"},
        "service:shop,host:a": {"status": "Alert"},
        "service:mail,host:a": {"status": "OK"},
        "service:mail,host:b": {"status": "No Data"},
    }
    organisation.monitors[7] = {"id": 7, "name": "5xx", "overall_state": "Alert", "state": {"groups": groups}}
    assert source.state("7").status is MonitorStatus.ALERT
    assert source.state("7/service:Web").words == "5xx: Warn (service:web,host:b)"
    assert source.state("7/host:a,service:web").status is MonitorStatus.OK
    assert source.state("7/service:mail").status is MonitorStatus.SILENT
    assert source.state("7/service:new") == MonitorState(
        MonitorStatus.SILENT, "no group service:new", "https://app.datadoghq.com/monitors/7"
    )


def test_a_monitor_without_a_state_is_silent(source: Datadog, organisation: Organisation) -> None:
    """One that was made a moment ago."""
    organisation.monitors[8] = {"id": 8, "name": "new"}
    assert source.state("8").status is MonitorStatus.SILENT


def test_a_monitor_is_named_by_its_number(source: Datadog) -> None:
    """Anything else is refused before it is asked for; one that does not exist, after."""
    source.check_monitor("42")
    source.check_monitor("42/service:web")
    for wrong in ("", "0", "forty-two", "42/", "42 OR 1"):
        with pytest.raises(ValueError, match="is no monitor"):
            source.check_monitor(wrong)
    with pytest.raises(Rejected, match="no_monitor"):
        source.state("forty-two")


def test_a_monitor_that_is_gone_is_said_so(source: Datadog) -> None:
    """It cannot tell how things stand."""
    with pytest.raises(DestinationGone, match=r"no_such_monitor \(43\)"):
        source.state("43")


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (
            Answer(400, '{"errors": ["Rule \'x\' didn\'t match"]}'),
            Rejected,
            "datadog: bad_query (Rule 'x' didn't match)",
        ),
        (Answer(400, "<html>"), Rejected, "datadog: bad_query"),
        (Answer(401, "{}"), AuthFailed, "datadog: http_401"),
        (Answer(403, '{"errors": ["Forbidden"]}'), AuthFailed, "datadog: http_403"),
        (Answer(429, "{}", {"X-RateLimit-Reset": "17"}), RateLimited, "datadog: rate_limited (retry after 17 s)"),
        (Answer(429, "{}", {"X-RateLimit-Reset": "0"}), RateLimited, "datadog: rate_limited (retry after 1 s)"),
        (Answer(429, "{}", {"X-RateLimit-Reset": "soon"}), RateLimited, "datadog: rate_limited (retry after 30 s)"),
        (Answer(429, "{}", {"X-RateLimit-Reset": "nan"}), RateLimited, "datadog: rate_limited (retry after 30 s)"),
        (Answer(500, "{}"), Unavailable, "datadog: http_500"),
        (Answer(200, "<html>Sign in</html>"), Unavailable, "datadog: bad_answer"),
        (Answer(200, "[]"), Unavailable, "datadog: bad_answer"),
        (Answer(200, "{}"), Unavailable, "datadog: bad_answer"),
        (Answer(200, '{"errors": "too complex", "data": {}}'), Rejected, "datadog: query_failed (too complex)"),
        (Answer(200, '{"data": {"attributes": {}}}'), Unavailable, "datadog: bad_answer"),
    ],
)
def test_every_error_is_told_apart(
    source: Datadog, organisation: Organisation, answer: Answer, kind: type[IntegrationError], words: str
) -> None:
    """By its class and reason, with Datadog's own words and no key."""
    organisation.fault = answer
    with pytest.raises(IntegrationError) as raised:
        source.value(CPU, start=T0, end=T0 + 60)
    assert type(raised.value) is kind
    assert str(raised.value).startswith(words)
    assert API_KEY not in str(raised.value)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"status": "error", "error": "Error parsing query"}, r"query_failed \(Error parsing query\)"),
        ({"status": "ok"}, "bad_answer"),
        ({"status": "ok", "series": [{"pointlist": [[1]]}]}, "bad_answer"),
        ({"status": "ok", "series": [{"pointlist": [[1, "x"]]}]}, "bad_answer"),
    ],
)
def test_the_first_version_may_say_no_in_an_answer_of_200(
    server: Answering, session: requests.Session, organisation: Organisation, body: object, words: str
) -> None:
    """Success is read from the body."""
    organisation.fault = Answer(200, json.dumps(body))
    with pytest.raises(IntegrationError, match=words):
        connected(server, session, api="v1").value(CPU, start=T0, end=T0 + 60)


def test_a_query_that_can_be_none_is_not_asked(source: Datadog, server: Answering) -> None:
    """It is refused in the configuration, and all the same here."""
    with pytest.raises(ValueError, match="names no metric"):
        source.check_query(Query("up"))
    with pytest.raises(Rejected, match="bad_query"):
        source.value(Query("up"), start=T0, end=T0 + 60)
    assert server.asked == []


def test_a_link_leads_to_the_explorer(server: Answering, session: requests.Session) -> None:
    """At the address of the region's pages, over the time of the deployment."""
    link = connected(server, session, site="us5.datadoghq.com").link(RATE, start=T0, end=T0 + 60)
    assert link == (
        f"https://us5.datadoghq.com/metric/explorer?live=false&from_ts={T0}000&to_ts={T0 + 60}000"
        "&exp_metric=errors&exp_scope=service%3Aweb&exp_agg=sum"
    )


def test_each_site_has_its_addresses() -> None:
    """Of the API and of the pages."""
    keys = {"api_key": "k", "application_key": "k"}
    found = {site: Config(site=site, **keys) for site in ("datadoghq.com", "datadoghq.eu", "ap1.datadoghq.com")}
    assert {site: (config.base_url, config.pages) for site, config in found.items()} == {
        "datadoghq.com": ("https://api.datadoghq.com", "https://app.datadoghq.com"),
        "datadoghq.eu": ("https://api.datadoghq.eu", "https://app.datadoghq.eu"),
        "ap1.datadoghq.com": ("https://api.ap1.datadoghq.com", "https://ap1.datadoghq.com"),
    }
    with pytest.raises(ValueError, match="site"):
        Config(site="example.com", **keys)
