"""Deployments told to DORA Metrics, held against Datadog's specification."""

from __future__ import annotations

from dataclasses import replace

import pytest
import requests

from bot.domain.deployments import Deployment, DeploymentKind, DeploymentState, Requester, Run, Version
from bot.errors import AuthFailed, RateLimited, Rejected
from bot.ports.metrics import DeploymentReports
from integrations.datadog import SPEC
from integrations.datadog.config import Config
from tests.answering import Answer, Answering
from tests.fakes import FakeClock
from tests.integrations.datadog.organisation import API_KEY, APPLICATION_KEY, Organisation

T0 = 1_795_233_600.0
COMMIT = "9fceb02d" * 5
FAILED = Deployment(
    17,
    "user-service",
    "production",
    Version("v1.4", COMMIT),
    Requester("slack:U1", "Ada"),
    T0,
    kind=DeploymentKind.PROMOTE,
    state=DeploymentState.FAILED,
    run=Run(T0 + 1, "1"),
    started_at=T0 + 10.25,
    ended_at=T0 + 70,
    outcome="checks_failed",
    detail="errors: 0.2 > 0.01",
)


@pytest.fixture
def reports(server: Answering, session: requests.Session) -> DeploymentReports:
    """Who tells it."""
    repositories = {"user-service": "https://github.com/acme/user-service"}
    section = {
        "api_url": server.url,
        "api_key": API_KEY,
        "application_key": APPLICATION_KEY,
        "dora": {"environments": ["prod*"], "repositories": repositories, "team": "accounts"},
    }
    built = SPEC.build("datadog", Config.model_validate(section), session, FakeClock()).reports
    assert built is not None
    return built


def test_a_deployment_is_one_record(reports: DeploymentReports, organisation: Organisation) -> None:
    """Told twice it is the same one, with its commit where the repository is known."""
    for _ in range(2):
        reports.report_deployment(FAILED)
    assert organisation.reported == {
        f"shipmate:deployment:17:{T0:.0f}": {
            "id": f"shipmate:deployment:17:{T0:.0f}",
            "service": "user-service",
            "env": "production",
            "version": "v1.4",
            "started_at": 1_795_233_610_250,
            "finished_at": 1_795_233_670_000,
            "custom_tags": ["deployment_kind:promote", "reported_by:shipmate"],
            "git": {"repository_url": "https://github.com/acme/user-service", "commit_sha": COMMIT},
            "team": "accounts",
        }
    }


def test_a_failure_is_told_again_with_its_end(reports: DeploymentReports, organisation: Organisation) -> None:
    """It keeps its id and its beginning, by which Datadog matches the two."""
    reports.report_failure(FAILED, T0 + 70, None)
    [(name, begun)] = organisation.reported.items()
    assert "finished_at" not in begun
    reports.report_failure(FAILED, T0 + 70, T0 + 130)
    assert organisation.reported == {name: {**begun, "finished_at": 1_795_233_730_000}}
    assert begun["name"] == "user-service v1.4 in production: errors: 0.2 > 0.01"


def test_a_short_commit_is_left_out(reports: DeploymentReports, organisation: Organisation) -> None:
    """Datadog takes whole ones only."""
    reports.report_deployment(replace(FAILED, version=Version("v1.4", "9fceb02")))
    [told] = organisation.reported.values()
    assert "git" not in told


def test_only_the_environments_that_are_wanted_are_taken(reports: DeploymentReports) -> None:
    """By globs; and without the section nothing is told at all."""
    assert (reports.takes("production"), reports.takes("staging")) == (True, False)


def test_without_the_section_nothing_is_told(session: requests.Session) -> None:
    """It is off by default."""
    config = Config.model_validate({"api_key": API_KEY, "application_key": APPLICATION_KEY})
    assert SPEC.build("datadog", config, session, FakeClock()).reports is None


@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        (Answer(429, "{}", {"X-RateLimit-Reset": "7"}), RateLimited, "rate_limited"),
        (Answer(403, '{"errors": ["Forbidden"]}'), AuthFailed, "http_403"),
        (Answer(400, '{"errors": [{"title": "Bad Request", "detail": "id is too short"}]}'), Rejected, "bad_query"),
    ],
)
def test_refusals_are_told_apart(
    reports: DeploymentReports, organisation: Organisation, answer: Answer, kind: type[Exception], reason: str
) -> None:
    """Whoever tries again knows whether that may help."""
    organisation.fault = answer
    with pytest.raises(kind, match=reason):
        reports.report_deployment(FAILED)
