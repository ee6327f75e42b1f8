"""Deployments and builds as Jira Cloud shows them at its issues.

Handed in with OAuth credentials for self-hosted tools, which are no person's:
https://developer.atlassian.com/cloud/jira/software/integrate-jsw-cloud-with-onpremises-tools/. A 202 means only that it
was read: what was refused, and keys that are not known, stand in its body.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import requests

from bot.domain.builds import Build, BuildStatus
from bot.domain.deployments import Deployment, DeploymentState
from bot.errors import Rejected, Unavailable
from bot.ports import Clock
from bot.ports.trackers import Submission
from integrations.http import call, raise_for_status
from integrations.jira.api import Site, refusal_of
from integrations.jira.auth import ClientCredentials
from integrations.jira.config import SYSTEM, Config, Records
from integrations.texts import clean_line, clean_url

MOST_KEYS = 100
MOST_WORDS = 5
_DEPLOYMENT_STATES = {
    DeploymentState.REQUESTED: "pending",
    DeploymentState.AWAITING_APPROVAL: "pending",
    DeploymentState.QUEUED: "pending",
    DeploymentState.DEPLOYING: "in_progress",
    DeploymentState.VERIFYING: "in_progress",
    DeploymentState.SUCCEEDED: "successful",
    DeploymentState.FAILED: "failed",
    DeploymentState.ROLLING_BACK: "failed",
    DeploymentState.ROLLED_BACK: "rolled_back",
    DeploymentState.ROLLBACK_FAILED: "failed",
    DeploymentState.CANCELLED: "cancelled",
    DeploymentState.EXPIRED: "cancelled",
    DeploymentState.SUPERSEDED: "cancelled",
}
_BUILD_STATES = {
    BuildStatus.RUNNING: "in_progress",
    BuildStatus.SUCCESS: "successful",
    BuildStatus.FAILED: "failed",
    BuildStatus.CANCELLED: "cancelled",
    BuildStatus.UNKNOWN: "unknown",
}
_WORDS_OF_TYPES = {
    "production": ("prod", "production", "prd", "live", "生产", "生产环境", "线上", "线上环境"),
    "staging": ("staging", "stage", "stg", "preprod", "pre", "preproduction", "预发", "预发布", "预发环境", "预生产"),
    "testing": ("test", "testing", "tests", "qa", "uat", "测试", "测试环境"),
    "development": ("dev", "devel", "development", "开发", "开发环境"),
}
_ENVIRONMENT_TYPES = {word: kind for kind, words in _WORDS_OF_TYPES.items() for word in words}
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_LETTERS = re.compile(r"[^\W\d_]+")


class JiraRecords:
    """Implements `DeliveryRecords` for one site."""

    def __init__(self, config: Config, records: Records, session: requests.Session, clock: Clock) -> None:
        self._records = records
        self._page = config.url
        self._session = session
        self._site = Site(session, config)
        self._credentials = ClientCredentials(
            session,
            clock,
            token_url=records.token_url,
            client_id=records.client_id,
            client_secret=records.client_secret.get_secret_value(),
        )

    def submit_deployment(self, deployment: Deployment, keys: Sequence[str], at: datetime) -> Submission:
        """See `DeliveryRecords`; the number and the revision order what arrives late."""
        url = clean_url(deployment.run.url) if deployment.run is not None else None
        name = clean_line(f"{deployment.service} {deployment.version.name} → {deployment.environment}", 255)
        words = deployment.state.value.replace("_", " ")
        row = {
            "deploymentSequenceNumber": deployment.number,
            "updateSequenceNumber": deployment.revision,
            "associations": [{"associationType": "issueIdOrKeys", "values": list(keys[:MOST_KEYS])}],
            "displayName": name,
            "url": url or self._page,
            "description": clean_line(f"{words}, asked for by {deployment.requester.name}", 255),
            "lastUpdated": _time(at),
            "label": clean_line(deployment.version.name, 255),
            "state": _DEPLOYMENT_STATES[deployment.state],
            "pipeline": {
                "id": deployment.service[:255],
                "displayName": clean_line(deployment.service, 255),
                "url": url or self._page,
            },
            "environment": {
                "id": deployment.environment[:255],
                "displayName": clean_line(deployment.environment, 255),
                "type": environment_type(deployment.environment),
            },
        }
        return self._submit("deployments", row)

    def submit_build(self, build: Build, revision: int, keys: Sequence[str], at: datetime) -> Submission:
        """See `DeliveryRecords`; Jira knows builds by number only, others are rejected here."""
        if not build.key.number.isdecimal():
            return Submission(0, ("a build's number must be a number",))
        row = {
            "pipelineId": f"{build.key.source}/{build.key.project}"[:255],
            "buildNumber": int(build.key.number),
            "updateSequenceNumber": revision,
            "displayName": clean_line(build.key.short, 255),
            "url": clean_url(build.facts.url or "") or self._page,
            "state": _BUILD_STATES[build.status],
            "lastUpdated": _time(at),
            "issueKeys": list(keys[:MOST_KEYS]),
        }
        return self._submit("builds", row)

    def _submit(self, kind: str, row: Mapping[str, Any]) -> Submission:
        url = f"{self._records.api_url}/jira/{kind}/0.1/cloud/{self._site.cloud_id()}/bulk"
        body = {kind: [row], "providerMetadata": {"product": "Shipmate"}}
        header = self._credentials.header()
        answer = self._post(url, header, body)
        if answer.status == 401:
            answer = self._post(url, self._credentials.header(refused=header), body)
        if answer.status in (400, 413):
            raise Rejected(SYSTEM, "refused", refusal_of(answer))
        raise_for_status(SYSTEM, answer, changes=True)
        try:
            said = answer.json()
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            raise Unavailable(SYSTEM, "bad_answer", "not JSON")
        return _read(kind, said)

    def _post(self, url: str, header: str, body: Mapping[str, Any]) -> Any:  # noqa: ANN401 - an answer
        headers = {"Accept": "application/json", "Authorization": header}
        return call(self._session, SYSTEM, "POST", url, headers=headers, json=body)


def environment_type(name: str) -> str:
    """What an environment is for, as far as a word of its name tells; no part of a word does."""
    words = _LETTERS.findall(_CAMEL.sub(" ", name).lower())
    known = [_ENVIRONMENT_TYPES[word] for word in words if word in _ENVIRONMENT_TYPES]
    return known[0] if known and "non" not in words else "unmapped"


def _read(kind: str, said: Mapping[str, Any]) -> Submission:
    title = kind.capitalize()
    accepted, rejected = said.get(f"accepted{title}"), said.get(f"rejected{title}")
    words = [
        clean_line(str(error.get("message", "")), 200)
        for row in (rejected if isinstance(rejected, list) else [])
        if isinstance(row, dict)
        for error in (row.get("errors") or [{"message": "rejected"}])
        if isinstance(error, dict)
    ]
    unknown = [key for key in said.get("unknownIssueKeys") or () if isinstance(key, str)]
    for row in said.get("unknownAssociations") or ():
        if isinstance(row, dict) and isinstance(row.get("values"), list):
            unknown += [key for key in row["values"] if isinstance(key, str)]
    count = len(accepted) if isinstance(accepted, list) else 0
    return Submission(count, tuple(words[:MOST_WORDS]), tuple(dict.fromkeys(unknown)))


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
