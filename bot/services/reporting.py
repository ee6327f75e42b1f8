"""What systems that keep DORA figures are told: written down with the deployment's step, delivered by a worker.

A system that is away delays nobody. What is told twice is one record there, by its id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bot.domain.deployments import FAILED_STATES, Deployment, DeploymentState
from bot.ports import Clock, Store, Transaction
from bot.ports.metrics import DeploymentReports
from bot.ports.tracking import TrackerTask
from bot.services.deployments import standing

REPORT, FAILURE = "report", "failure"
PREFIX = "metrics:"
RESTORED = ":restored"
MOST_OPEN = 20
_S = DeploymentState


class Reporting:
    """Writes down what is to be told, and tells it. Without `reports` nothing is."""

    def __init__(self, reports: Mapping[str, DeploymentReports], store: Store, clock: Clock) -> None:
        self._store = store
        self._reports = {f"{PREFIX}{name}"[:40]: one for name, one in reports.items()}
        self._clock = clock

    def deployment(self, tx: Transaction, deployment: Deployment) -> None:
        """A deployment came to another state: told of where it changed something."""
        if deployment.run is None or not deployment.run.request:
            return
        for name, reports in self._reports.items():
            if not reports.takes(deployment.environment):
                continue
            if deployment.state in (_S.SUCCEEDED, _S.FAILED):
                self._add(tx, name, REPORT, deployment, {})
            if deployment.state in (_S.FAILED, _S.ROLLING_BACK):  # what is known already is not added again
                self._add(tx, name, FAILURE, deployment, {"failed_at": deployment.state_since})
            if deployment.state is _S.SUCCEEDED:
                self._restored(tx, name, deployment, deployment.state_since)  # its way back was called off
                for failed in _open_failures(tx, deployment):
                    self._restored(tx, name, failed, deployment.ended_at)

    def tell(self, task: TrackerTask) -> str:
        """Do it, and say what it came to; raises IntegrationError."""
        reports = self._reports.get(task.tracker)
        if reports is None:
            return "dropped:not_configured"
        deployment = Deployment.from_json(task.body["deployment"])
        if task.kind == REPORT:
            reports.report_deployment(deployment)
        else:
            # What is told late must not take back that it is over.
            ended = self._store.read(lambda tx: tx.tracker_tasks.get(task.tracker, task.key + RESTORED)) or task.body
            reports.report_failure(deployment, task.body["failed_at"], ended.get("restored_at"))
        return "done"

    def _restored(self, tx: Transaction, name: str, failed: Deployment, at: float) -> None:
        """Tell of a failure once more, with its end; it began when it was told of first."""
        told = tx.tracker_tasks.get(name, _key(FAILURE, failed))
        if told is not None:
            times = {"failed_at": told["failed_at"], "restored_at": at}
            self._add(tx, name, FAILURE, failed, times, suffix=RESTORED)

    def _add(
        self,
        tx: Transaction,
        name: str,
        kind: str,
        deployment: Deployment,
        times: Mapping[str, float],
        *,
        suffix: str = "",
    ) -> None:
        at = self._clock.now().timestamp()
        body = {"deployment": deployment.to_json(), **times}
        tx.tracker_tasks.add(name, _key(kind, deployment) + suffix, kind, body, due_at=at, at=at)


def _open_failures(tx: Transaction, good: Deployment) -> Sequence[Deployment]:
    """What failed in the same environment since the last success before this one."""
    line = (good.service, good.environment)
    earlier = [one for one in standing.succeeded(tx, *line) if one.number != good.number]
    since = max((one.ended_at for one in earlier), default=0.0)
    failed = tx.deployments.newest(*line, frozenset(FAILED_STATES), MOST_OPEN)
    return [one for one in failed if one.ended_at >= since or one.rolled_back_by == good.number]


def _key(kind: str, deployment: Deployment) -> str:
    return f"{kind}:{deployment.key}@{int(deployment.requested_at)}"[:230]
