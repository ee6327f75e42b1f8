"""Learns what a deployment brings while its source can be asked: when it fails, nobody has to wait for that."""

from __future__ import annotations

from dataclasses import replace

from bot.domain.deployments import Deployment, bringing
from bot.domain.services import Target
from bot.errors import IntegrationError
from bot.ports import Transaction
from bot.ports.deploying import DeploymentLease
from bot.services.deployments.records import Records
from bot.services.deployments.requests import Requests
from bot.services.deployments.versions import LEARN_S, Brought
from bot.telemetry import logger

log = logger(__name__)


class Learning:
    """Asks again for commits that could not be told when a deployment was asked for."""

    def __init__(self, records: Records, requests: Requests) -> None:
        self._records = records
        self._requests = requests

    def ask(self, deployment: Deployment, target: Target) -> Brought | None:
        """What it brings, where that is still to be learned; takes no longer than one call to its source."""
        if not deployment.learn_at:
            return None
        try:
            return self._requests.bring(target, deployment.previous, deployment.version)
        except IntegrationError as problem:
            log.warning("commits not learned", number=deployment.number, error=problem)
            return None

    def learned(self, deployment: Deployment, brought: Brought | None) -> Deployment:
        """The deployment with what it was learned to bring; when to ask again, where that was not all."""
        if brought is None:
            return deployment
        told = replace(
            bringing(deployment, brought.changes) if brought.is_known else deployment,
            changes_known=brought.is_known,
            learn_at=self._records.now() + LEARN_S if brought.may_be_learned else 0.0,
        )
        if not brought.is_known:
            return told
        issues = (*deployment.issues, *(key for change in brought.changes for key in change.issues))
        return replace(told, aside=brought.aside, issues=tuple(dict.fromkeys(issues)))

    def catch_up(self, lease: DeploymentLease, target: Target) -> bool:
        """Learn, for one that is under way, what is to be learned by now; whether it was given back for that."""
        deployment = lease.deployment
        if not (deployment.state.is_active and 0.0 < deployment.learn_at <= self._records.now()):
            return False
        brought = self.ask(deployment, target)

        def work(tx: Transaction) -> None:
            tx.deployments.hold_line(deployment.service, deployment.environment)
            current = tx.deployments.get(deployment.number, for_change=True)
            if current is None or not tx.deployments.holds(lease):
                return
            now = self._records.now()
            if current.revision == deployment.revision:
                after = self.learned(replace(current, revision=current.revision + 1, learn_at=now + LEARN_S), brought)
                self._records.progress(tx, after, due_at=now)
            tx.deployments.release(lease, due_at=now)

        self._records.store.write(work)
        return True
