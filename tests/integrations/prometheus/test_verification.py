"""Checks of a deployment measured by a real Prometheus, from the first look to the verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import requests

from bot.domain.checks import Aggregate, CheckKind, CheckProgress, CheckSpec, Reason, Verdict, advance, begin
from bot.services.verification import CheckContext, Verification
from integrations.prometheus.config import Config
from integrations.prometheus.source import Prometheus
from tests.prometheus_server import HISTORY_S, SERVICE, T0, PrometheusServer, running

pytestmark = pytest.mark.prometheus

BREAKS_AT = T0 - HISTORY_S // 2  # from here on one of ten requests fails
RATE = (
    'sum(rate(http_requests_total{job="{{service}}",status=~"5.."}[{{window}}]))'
    ' / sum(rate(http_requests_total{job="{{service}}"}[{{window}}]))'
)
ERRORS = CheckSpec("errors", CheckKind.METRIC, source="prometheus", query=RATE, max_value=0.03, duration_s=120)


def context(started_at: float, service: str = SERVICE) -> CheckContext:
    """A deployment that began at an instant of the history."""
    return CheckContext(service, "production", "1.2.0", "", "1.1.0", started_at, started_at)


def measuring(server: PrometheusServer, session: requests.Session) -> Verification:
    """What measures by a server."""
    return Verification({"prometheus": Prometheus(Config(url=server.url), session)})


def watched(verification: Verification, spec: CheckSpec, deployment: CheckContext, until: float) -> CheckProgress:
    """The check as far as it has come at an instant, each look on time."""
    progress = begin(spec, deployment.started_at)
    while progress.is_running and progress.next_at <= until:
        look = verification.measure(spec, deployment, progress.next_at)
        progress = advance(spec, progress, replace(look, took_s=0.0))
    return progress


def test_a_good_version_passes(prometheus: PrometheusServer, session: requests.Session) -> None:
    """Watched for the whole duration."""
    good = context(BREAKS_AT - 200)
    progress = watched(measuring(prometheus, session), ERRORS, good, T0)
    assert (progress.verdict, progress.measured, progress.passes) == (Verdict.PASSED, 7, 7)
    assert progress.last_value == 0.0


def test_a_bad_version_fails_as_soon_as_it_shows(prometheus: PrometheusServer, session: requests.Session) -> None:
    """With the value and the limit that it is beyond."""
    progress = watched(measuring(prometheus, session), ERRORS, context(BREAKS_AT), T0)
    assert progress.verdict is Verdict.FAILED
    assert 60 <= progress.next_at - BREAKS_AT <= 80
    assert progress.last_reason is Reason.ABOVE
    assert progress.last_detail.endswith(" > 0.03")


def test_a_bad_version_is_worse_than_the_one_before(prometheus: PrometheusServer, session: requests.Session) -> None:
    """Against the ten minutes before the deployment; and one that stays as it was is not."""
    spec = replace(ERRORS, kind=CheckKind.COMPARE, max_increase=0.01, baseline_window_s=300)
    verification = measuring(prometheus, session)
    assert watched(verification, spec, context(BREAKS_AT), T0).verdict is Verdict.FAILED
    same = watched(verification, spec, context(T0 - 200), T0)
    assert (same.verdict, same.last_detail) == (Verdict.PASSED, "← 0.1")


def test_no_traffic_is_no_health(prometheus: PrometheusServer, session: requests.Session) -> None:
    """A service that nobody scrapes, and a division of nothing by nothing."""
    verification = measuring(prometheus, session)
    unknown = watched(verification, ERRORS, context(T0 - 200, "nobody"), T0)
    assert (unknown.verdict, unknown.last_reason) == (Verdict.NO_DATA, Reason.NO_SERIES)
    nan = watched(verification, replace(ERRORS, query="vector(0) / 0"), context(T0 - 200), T0)
    assert (nan.verdict, nan.last_reason) == (Verdict.NO_DATA, Reason.NOT_A_NUMBER)


def test_two_series_are_nobodys_health(prometheus: PrometheusServer, session: requests.Session) -> None:
    """An error that names both, until the check says how they become one."""
    verification = measuring(prometheus, session)
    spec = replace(ERRORS, query="queue_length", max_value=5)
    progress = watched(verification, spec, context(T0 - 200), T0)
    assert progress.verdict is Verdict.ERROR
    assert progress.last_detail == '2: queue_length{pod="a"}, queue_length{pod="b"}'
    one = watched(verification, replace(spec, aggregate=Aggregate.MAX), context(T0 - 200), T0)
    assert (one.verdict, one.last_value) == (Verdict.PASSED, 5.0)


def test_a_server_that_goes_down_meanwhile_leaves_no_pass(session: requests.Session, tmp_path: Path) -> None:
    """Good looks before do not speak for the time after; and no deployment begins while it is down."""
    deployment = context(BREAKS_AT - 200)
    with running(tmp_path) as server:
        verification = measuring(server, session)
        assert verification.probe([ERRORS], deployment) == []
        progress = watched(verification, ERRORS, deployment, deployment.started_at + 90)
        assert (progress.passes, progress.is_running) == (4, True)
    while progress.is_running:
        progress = advance(ERRORS, progress, verification.measure(ERRORS, deployment, progress.next_at))
    assert (progress.verdict, progress.passes, progress.errors) == (Verdict.ERROR, 4, 3)
    assert progress.last_detail.startswith("prometheus: unreachable")
    (problem,) = verification.probe([ERRORS], deployment)
    assert problem.startswith("prometheus: prometheus: unreachable")
