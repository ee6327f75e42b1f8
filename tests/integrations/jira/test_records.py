"""Deployments and builds shown at Jira's issues."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bot.domain.builds import Build, BuildFacts, BuildStatus, Phase
from bot.domain.deployments import Deployment, DeploymentState, Requester, Run, Version
from bot.errors import AuthFailed, Rejected, Unavailable
from bot.ports.trackers import DeliveryRecords, Submission
from integrations.jira.records import environment_type
from tests.fakes import EPOCH
from tests.integrations.jira.conftest import Connect
from tests.jira_server import FakeJira
from tests.stores import key_of

DEPLOYMENT = Deployment(
    7,
    "user-service",
    "staging",
    Version("1.4.2"),
    Requester("slack:U1", "Ada"),
    EPOCH.timestamp(),
    run=Run(0.0, url="https://ci.example.com/7"),
    revision=3,
)
BUILD = Build(key_of(12), 1, Phase.FINISHED, BuildFacts(status=BuildStatus.FAILED, url="https://ci.example.com/12"))


@pytest.fixture
def records(connect: Connect, jira: FakeJira) -> DeliveryRecords:
    """The records of a site whose gateway is the stand-in."""
    settings: dict[str, Any] = {
        "client_id": "tool",
        "client_secret": "tool-secret",
        "token_url": f"{jira.url}/oauth/token",
        "api_url": jira.url,
    }
    found = connect(jira, records=settings).records
    assert found is not None
    return found


@pytest.mark.parametrize("state", list(DeploymentState))
def test_every_state_is_shown(jira: FakeJira, records: DeliveryRecords, state: DeploymentState) -> None:
    """As one of Jira's own, in a form that its specification accepts."""
    assert records.submit_deployment(replace(DEPLOYMENT, state=state), ["USER-12"], EPOCH) == Submission(1)
    [row] = jira.deployments
    assert (row["deploymentSequenceNumber"], row["updateSequenceNumber"]) == (7, 3)
    assert row["environment"] == {"id": "staging", "displayName": "staging", "type": "staging"}
    assert row["lastUpdated"] == "2026-11-21T04:00:00.000Z"


def test_what_is_too_long_or_missing_is_made_fit(jira: FakeJira, records: DeliveryRecords) -> None:
    """Limits are Jira's; a deployment without a run's page leads to the site."""
    long = replace(DEPLOYMENT, version=Version("v" * 400), run=None, requester=Requester("slack:U1", "A" * 400))
    records.submit_deployment(long, [f"USER-{number}" for number in range(1, 300)], EPOCH)
    [row] = jira.deployments
    assert row["url"] == jira.url
    assert len(row["associations"][0]["values"]) == 100


def test_builds_are_shown_by_number(jira: FakeJira, records: DeliveryRecords) -> None:
    """Jira knows no other."""
    assert records.submit_build(BUILD, 4, ["USER-12"], EPOCH) == Submission(1)
    assert (jira.builds[0]["buildNumber"], jira.builds[0]["state"]) == (12, "failed")
    named = replace(BUILD, key=key_of("12-rc"))
    assert records.submit_build(named, 4, ["USER-12"], EPOCH).accepted == 0


def test_accepted_is_not_success(records: DeliveryRecords) -> None:
    """A 202 says in its body what was not taken."""
    submission = records.submit_deployment(DEPLOYMENT, ["USER-99", "USER-12"], EPOCH)
    assert submission == Submission(1, (), ("USER-99",))
    refused = records.submit_deployment(DEPLOYMENT, ["USER-99"], EPOCH)
    assert refused == Submission(0, ("only unknown issue keys",), ("USER-99",))


def test_newer_answers_name_what_is_unknown_otherwise(jira: FakeJira, records: DeliveryRecords) -> None:
    """As associations, beside or instead of keys."""
    unknown = [{"associationType": "issueIdOrKeys", "values": ["USER-99"]}]
    jira.fail("/bulk", 202, {"rejectedDeployments": [{"errors": None}], "unknownAssociations": unknown})
    assert records.submit_deployment(DEPLOYMENT, ["USER-99"], EPOCH) == Submission(0, ("rejected",), ("USER-99",))


def test_a_token_that_ended_is_replaced(jira: FakeJira, records: DeliveryRecords) -> None:
    """Once; then it is an operator's matter."""
    records.submit_deployment(DEPLOYMENT, ["USER-12"], EPOCH)
    jira.access_tokens.clear()
    assert records.submit_deployment(DEPLOYMENT, ["USER-12"], EPOCH).accepted == 1
    for _ in range(2):
        jira.fail("/bulk", 401)
    with pytest.raises(AuthFailed):
        records.submit_deployment(DEPLOYMENT, ["USER-12"], EPOCH)


def test_refusals_are_told_apart(jira: FakeJira, records: DeliveryRecords) -> None:
    """A body that Jira cannot read, and a door that is closed."""
    jira.fail("/bulk", 400, {"errorMessages": ["no such field"]})
    with pytest.raises(Rejected):
        records.submit_deployment(DEPLOYMENT, ["USER-12"], EPOCH)
    jira.fail("/bulk", 503)
    with pytest.raises(Unavailable):
        records.submit_deployment(DEPLOYMENT, ["USER-12"], EPOCH)
    jira.fail("/bulk", 202, b"<html>")
    with pytest.raises(Unavailable):
        records.submit_deployment(DEPLOYMENT, ["USER-12"], EPOCH)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("production", "production"),
        ("prod-eu", "production"),
        ("preprod", "staging"),
        ("staging", "staging"),
        ("qa", "testing"),
        ("dev-2", "development"),
        ("生产环境", "production"),
        ("预生产", "staging"),
        ("pre-prod", "staging"),
        ("EuProd2", "production"),
        ("测试", "testing"),
        ("moon", "unmapped"),
        ("nonprod", "unmapped"),
        ("non-prod", "unmapped"),
        ("product-a", "unmapped"),
        ("delivery", "unmapped"),
        ("latest", "unmapped"),
    ],
)
def test_environments_are_known_by_their_names(name: str, kind: str) -> None:
    """As far as a name tells."""
    assert environment_type(name) == kind
