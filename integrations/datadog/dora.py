"""Deployments and failures told to Datadog's DORA Metrics.

https://docs.datadoghq.com/api/latest/dora-metrics/ · the `id` makes one record of what is told twice; a failure is told
when it begins and again, with `finished_at`, when it is over:
https://docs.datadoghq.com/dora_metrics/failures/incident_api. Times are sent in milliseconds.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Any

from bot.domain.deployments import Deployment
from integrations.datadog.api import DatadogApi
from integrations.datadog.config import Dora
from integrations.texts import clean_line

MAX_WORDS = 200
_COMMIT = re.compile(r"[0-9a-fA-F]{40,}")


class DoraReports:
    """Implements `DeploymentReports`."""

    def __init__(self, wanted: Dora, api: DatadogApi) -> None:
        self._wanted = wanted
        self._api = api

    def takes(self, environment: str) -> bool:
        """See `DeploymentReports`."""
        return any(fnmatchcase(environment, pattern) for pattern in self._wanted.environments)

    def report_deployment(self, deployment: Deployment) -> None:
        """See `DeploymentReports`."""
        attributes = {
            **self._known(deployment),
            "id": f"shipmate:deployment:{_number(deployment)}",
            "service": deployment.service,
            "started_at": _ms(deployment.started_at),
            "finished_at": _ms(deployment.ended_at),
        }
        self._api.ask("POST", "/api/v2/dora/deployment", json={"data": {"attributes": attributes}})

    def report_failure(self, deployment: Deployment, failed_at: float, restored_at: float | None) -> None:
        """See `DeploymentReports`."""
        where = f"{deployment.service} {deployment.version.name} in {deployment.environment}"
        attributes = {
            **self._known(deployment),
            "id": f"shipmate:failure:{_number(deployment)}",
            "services": [deployment.service],
            "name": clean_line(f"{where}: {deployment.detail or deployment.outcome or 'rolled back'}", MAX_WORDS),
            "started_at": _ms(failed_at),
        }
        if restored_at is not None:
            attributes["finished_at"] = _ms(restored_at)
        self._api.ask("POST", "/api/v2/dora/failure", json={"data": {"attributes": attributes}})

    def _known(self, deployment: Deployment) -> dict[str, Any]:
        """What both kinds of record have."""
        found: dict[str, Any] = {
            "env": deployment.environment,
            "version": deployment.version.name,
            "custom_tags": [f"deployment_kind:{deployment.kind}", "reported_by:shipmate"],
        }
        repository, commit = self._wanted.repositories.get(deployment.service), deployment.version.commit
        if repository and _COMMIT.fullmatch(commit):
            found["git"] = {"repository_url": repository, "commit_sha": commit}
        if self._wanted.team:
            found["team"] = self._wanted.team
        return found


def _number(deployment: Deployment) -> str:
    """Another one of the same number, of a database made anew, is told apart by its time."""
    return f"{deployment.number}:{int(deployment.requested_at)}"


def _ms(at: float) -> int:
    return round(at * 1000)
