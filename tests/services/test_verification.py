"""What checks are measured by: queries with their windows, monitors, addresses; and when nobody answers."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import requests

from bot.domain.checks import CheckKind, CheckSpec, Measurement, Reason, Verdict, advance, begin
from bot.domain.judging import MonitorStatus
from bot.errors import RateLimited, Unavailable
from bot.ports.metrics import Reply
from bot.services.verification import CheckContext, Verification
from integrations.prometheus.config import Config
from integrations.prometheus.source import Prometheus
from tests.metric_fakes import FakeMetricSource, FakeMonitorSource, FakeProber
from tests.waiting import wait_until

T0 = 1_795_000_000.0
CONTEXT = CheckContext("user-service", "production", "1.2.0", "f00ba4", "1.1.0", T0 - 600, T0)
ERRORS = CheckSpec(
    "errors", CheckKind.METRIC, source="prometheus", query='errors{app="{{service}}"}[{{window}}]', max_value=0.01
)
LATENCY = CheckSpec(
    "latency", CheckKind.COMPARE, source="prometheus", query="p95({{environment}}, {{window}})", max_ratio=1.5
)
HEALTH = CheckSpec("health", CheckKind.HTTP, url="http://{{service}}.internal/{{version}}/health")
PORT = CheckSpec("port", CheckKind.TCP, host="{{service}}.internal", port=5432, timeout_s=2)
SLO = CheckSpec("slo", CheckKind.MONITOR, source="datadog", query="42")


def looked(measurement: Measurement) -> tuple[Verdict, Reason, float | None, str]:
    """What a look came to, without its times."""
    return measurement.verdict, measurement.reason, measurement.value, measurement.detail


@pytest.fixture
def source() -> FakeMetricSource:
    """A source of metrics that knows nothing yet."""
    return FakeMetricSource()


@pytest.fixture
def verification(source: FakeMetricSource) -> Verification:
    """Everything that can be configured, answering well."""
    monitors = FakeMonitorSource({"42": MonitorStatus.OK})
    return Verification({"prometheus": source}, {"datadog": monitors}, FakeProber())


def test_a_value_is_asked_for_the_time_since_the_new_version_is_there(
    verification: Verification, source: FakeMetricSource
) -> None:
    """From its first look on a check asks for the time since the run, which took ten minutes, had gone well."""
    for now in (begin(ERRORS, T0).next_at, T0 + 90, T0 + 1000):
        verification.measure(ERRORS, CONTEXT, now)
    short = replace(ERRORS, window_s=10)
    verification.measure(short, CONTEXT, begin(short, T0).next_at)
    assert source.asked == [
        ('errors{app="user-service"}[60s]', T0, T0 + 60),
        ('errors{app="user-service"}[90s]', T0, T0 + 90),
        ('errors{app="user-service"}[300s]', T0 + 700, T0 + 1000),
        ('errors{app="user-service"}[10s]', T0, T0 + 10),
    ]


def test_a_value_is_judged_and_warnings_are_kept(verification: Verification, source: FakeMetricSource) -> None:
    """The verdict, the value, and what the system said beside it, at the time of the look."""
    source.answers['errors{app="user-service"}[60s]'] = {"{}": 0.5}
    source.warnings = ("a range is not a whole number of steps",) * 9
    measured = verification.measure(ERRORS, CONTEXT, T0)
    assert looked(measured) == (Verdict.FAILED, Reason.ABOVE, 0.5, "0.5 > 0.01")
    assert measured.at == T0
    assert 0 <= measured.took_s < 30
    assert len(measured.warnings) == 3


def test_a_comparison_asks_for_the_time_before_the_deployment(
    verification: Verification, source: FakeMetricSource
) -> None:
    """The same query twice: since the new version is there, and over the baseline window before its run began."""
    source.answers = {"p95(production, 90s)": {"": 0.3}, "p95(production, 3600s)": {"": 0.25}}
    measured = verification.measure(LATENCY, CONTEXT, T0 + 90)
    assert looked(measured) == (Verdict.PASSED, Reason.WITHIN, 0.3, "← 0.25")
    assert source.asked == [
        ("p95(production, 90s)", T0, T0 + 90),
        ("p95(production, 3600s)", T0 - 4200, T0 - 600),
    ]
    verification.measure(LATENCY, replace(CONTEXT, well_until=T0 - 1200), T0 + 90)
    assert source.asked[-1] == ("p95(production, 3600s)", T0 - 4800, T0 - 1200)
    verification.measure(LATENCY, replace(CONTEXT, started_at=T0 + 3000), T0 + 90)
    assert source.asked[-1] == ("p95(production, 3600s)", T0 - 3600, T0)


@pytest.mark.parametrize(
    ("value", "outcome"), [(0.0, (Verdict.ERROR, Reason.PARTIAL)), (0.5, (Verdict.FAILED, Reason.ABOVE))]
)
def test_a_partial_answer_is_no_pass(
    verification: Verification, source: FakeMetricSource, value: float, outcome: tuple[Verdict, Reason]
) -> None:
    """What could not be read may be what is wrong; what was read, and is wrong, is."""
    source.answers['errors{app="user-service"}[60s]'] = {"{}": value}
    source.warnings, source.is_partial = ("store gateway down",), True
    assert looked(verification.measure(ERRORS, CONTEXT, T0))[:2] == outcome


@pytest.mark.parametrize("value", [0.3, 0.9])
def test_what_is_partial_is_no_measure(verification: Verification, source: FakeMetricSource, value: float) -> None:
    """A value that is whole is neither well nor wrong beside one from before of which half was not read."""
    source.answers = {"p95(production, 90s)": {"": value}, "p95(production, 3600s)": {"": 0.25}}
    source.partly = {"p95(production, 3600s)"}
    measured = verification.measure(LATENCY, CONTEXT, T0 + 90)
    assert looked(measured)[:3] == (Verdict.ERROR, Reason.PARTIAL, value)


def test_no_data_is_no_pass(verification: Verification) -> None:
    """A query that finds nothing says nothing of the service."""
    assert looked(verification.measure(ERRORS, CONTEXT, T0)) == (Verdict.NO_DATA, Reason.NO_SERIES, None, "[]")


def test_a_system_that_is_down_is_an_error_with_its_reason(
    verification: Verification, source: FakeMetricSource
) -> None:
    """Never a pass, never a failure of the service."""
    source.down = Unavailable("prometheus", "unreachable", "ConnectionError")
    measured = verification.measure(ERRORS, CONTEXT, T0)
    words = "prometheus: unreachable (ConnectionError)"
    assert looked(measured) == (Verdict.ERROR, Reason.UNASKED, None, words)


def test_a_system_that_wants_to_be_left_alone_is(verification: Verification, source: FakeMetricSource) -> None:
    """The next look waits for as long as it asked for, at most five minutes."""
    for asked_s, next_s in ((25.0, 90.0), (9000.0, 360.0)):
        source.down = RateLimited("datadog", "rate_limited", asked_s, scope="account")
        progress = begin(ERRORS, T0)
        look = replace(verification.measure(ERRORS, CONTEXT, progress.next_at), took_s=0.0)
        assert advance(ERRORS, progress, look).next_at == T0 + next_s


def test_a_fault_of_our_own_is_an_error_too(verification: Verification, source: FakeMetricSource) -> None:
    """Whatever breaks while something is measured, the deployment goes on to be judged."""
    source.answers['errors{app="user-service"}[60s]'] = RuntimeError("with something secret")
    expected = (Verdict.ERROR, Reason.UNASKED, None, "RuntimeError")
    assert looked(verification.measure(ERRORS, CONTEXT, T0)) == expected
    assert looked(Verification().measure(ERRORS, CONTEXT, T0))[:2] == expected[:2]
    assert looked(Verification().measure(HEALTH, CONTEXT, T0))[:2] == expected[:2]


def test_an_address_is_tried_until_it_passes() -> None:
    """With as many retries as the check has; values within an address stay parts of it."""
    prober = FakeProber((Reply(problem="refused"), Reply(503), Reply(200)))
    context = replace(CONTEXT, version="1.0/../admin?x")
    measured = Verification(prober=prober).measure(replace(HEALTH, retries=5), context, T0)
    assert looked(measured) == (Verdict.PASSED, Reason.WITHIN, 200.0, "200")
    assert prober.asked == ["http://user-service.internal/1.0%2F..%2Fadmin%3Fx/health within 5"] * 3


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (Reply(problem="refused"), (Verdict.FAILED, Reason.NO_ANSWER, None, "refused")),
        (Reply(503, "ok"), (Verdict.FAILED, Reason.WRONG_STATUS, 503.0, "503")),
        (Reply(200, "version 1.1.0"), (Verdict.FAILED, Reason.WRONG_TEXT, 200.0, "200")),
        (Reply(200, "version 1.2.0"), (Verdict.PASSED, Reason.WITHIN, 200.0, "200")),
    ],
)
def test_an_answer_is_judged(reply: Reply, outcome: tuple[Verdict, Reason, float | None, str]) -> None:
    """By its status and by the text that the version shall be found in."""
    verification = Verification(prober=FakeProber((reply,)))
    assert looked(verification.measure(replace(HEALTH, contains="version {{version}}"), CONTEXT, T0)) == outcome


def test_a_port_is_open_or_not() -> None:
    """A connection is all that is asked for."""
    prober = FakeProber((Reply(), Reply(problem="timeout")))
    verification = Verification(prober=prober)
    assert looked(verification.measure(PORT, CONTEXT, T0)) == (Verdict.PASSED, Reason.WITHIN, None, "")
    assert looked(verification.measure(PORT, CONTEXT, T0)) == (Verdict.FAILED, Reason.NO_ANSWER, None, "timeout")
    assert prober.asked == ["user-service.internal:5432 within 2"] * 2


def test_a_monitor_is_asked_how_it_stands(verification: Verification) -> None:
    """One that is gone is an error, not a failure."""
    assert looked(verification.measure(SLO, CONTEXT, T0)) == (Verdict.PASSED, Reason.WITHIN, None, "monitor 42")
    gone = verification.measure(replace(SLO, query="43"), CONTEXT, T0)
    assert looked(gone) == (Verdict.ERROR, Reason.UNASKED, None, "fake: no_such_monitor")


def test_checks_are_measured_side_by_side(source: FakeMetricSource) -> None:
    """One that waits for its time-out delays no other, and each keeps its place."""
    prober = FakeProber(gate=threading.Event())
    verification = Verification({"prometheus": source}, {}, prober)
    answers: list[Measurement] = []
    thread = threading.Thread(
        target=lambda: answers.extend(verification.measure_all([HEALTH, PORT, ERRORS], CONTEXT, T0))
    )
    thread.start()
    wait_until(lambda: len(prober.asked) == 2 and source.asked, "all three under way")
    assert prober.gate is not None
    prober.gate.set()
    thread.join(30)
    assert [one.verdict for one in answers] == [Verdict.PASSED, Verdict.PASSED, Verdict.NO_DATA]
    assert verification.measure_all([], CONTEXT, T0) == []


def test_before_a_deployment_each_system_is_asked_once(verification: Verification, source: FakeMetricSource) -> None:
    """Nothing to say when all can be measured; the service itself may be down before it is deployed."""
    assert verification.probe([ERRORS, LATENCY, HEALTH, PORT, SLO], CONTEXT) == []
    assert source.probes == 1


def test_who_is_asked_beforehand_is_asked_side_by_side() -> None:
    """Six monitors of a slow system take as long as one: none is told before all of them were asked about."""
    all_asked = threading.Barrier(6)
    monitors = FakeMonitorSource({"42": MonitorStatus.OK}, before_telling=lambda: all_asked.wait(30))
    verification = Verification(monitors={"datadog": monitors})
    assert verification.probe([replace(SLO, name=f"slo{number}") for number in range(6)], CONTEXT) == []


def test_who_does_not_answer_beforehand_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that hangs is a problem like one that refuses, within a time that a step can take."""
    monkeypatch.setattr("bot.services.verification.PROBE_S", 0.05)
    gate = threading.Event()
    monitors = FakeMonitorSource({"42": MonitorStatus.OK}, before_telling=lambda: gate.wait(30))
    verification = Verification(monitors={"datadog": monitors})
    try:
        assert verification.probe([SLO], CONTEXT) == ["slo: no answer within 0.05 s"]
    finally:
        gate.set()


def test_before_a_deployment_it_is_said_what_cannot_be_measured(
    verification: Verification, source: FakeMetricSource
) -> None:
    """The system that does not answer, the monitor that does not exist."""
    source.down = Unavailable("prometheus", "unreachable")
    assert verification.probe([ERRORS, LATENCY, replace(SLO, query="43")], CONTEXT) == [
        "prometheus: prometheus: unreachable",
        "slo: fake: no_such_monitor",
    ]


def test_what_can_never_be_measured_is_said_without_a_network(
    verification: Verification, source: FakeMetricSource
) -> None:
    """Unknown sources, queries that do not parse, ids that are none."""
    specs = [
        replace(ERRORS, source="promtheus"),
        replace(LATENCY, query="sum(up"),
        replace(SLO, source="prometheus"),
        replace(SLO, query="forty-two"),
        HEALTH,
    ]
    assert verification.probe(specs, CONTEXT) == [
        "errors: 'promtheus' is none of metrics: did you mean prometheus?",
        "latency: unclosed left parenthesis",
        "slo: 'prometheus' is none of metrics, or has no monitors: there is datadog",
        "slo: 'forty-two' is no monitor's id",
    ]
    assert source.probes == 0


def test_a_query_that_cannot_hold_a_value_has_no_link() -> None:
    """The page is left out; that nothing can be measured is said by the measurement."""
    source = Prometheus(Config(url="http://127.0.0.1:9"), requests.Session())
    verification = Verification({"prometheus": source})
    spec, context = replace(ERRORS, query="up_{{version}}"), replace(CONTEXT, version="1.2-rc")
    assert verification.link(spec, context, start=T0, end=T0 + 60) is None
    words = "prometheus: bad_query ('1.2-rc' can only stand between quotes)"
    assert looked(verification.measure(spec, context, T0)) == (Verdict.ERROR, Reason.UNASKED, None, words)


def test_a_chart_shows_how_a_value_went_on(verification: Verification, source: FakeMetricSource) -> None:
    """As many points as a small chart can show; and a page for those who want more."""
    source.answers['errors{app="user-service"}[300s]'] = {"{}": 0.5}
    series = verification.history(ERRORS, CONTEXT, start=T0, end=T0 + 480)
    assert len(series.points["{}"]) == 241
    links = [verification.link(spec, CONTEXT, start=T0, end=T0 + 480) for spec in (ERRORS, HEALTH, PORT, SLO)]
    assert links == [
        f'https://metrics.example.com/?q=errors{{app="user-service"}}[300s]&from={T0:g}&to={T0 + 480:g}',
        "http://user-service.internal/1.2.0/health",
        None,
        None,
    ]
