"""Deployments of what was taken out of the configuration: nobody can carry them out, and none of them is left alone."""

from __future__ import annotations

from bot.domain.deployment_effects import NOT_CONFIGURED
from bot.domain.deployments import Deployment, DeploymentState, move, note
from bot.domain.services import Target
from bot.ports import Transaction
from bot.ports.deploying import DeploymentLease
from bot.services.deployments.ending import Ending
from bot.services.deployments.judging import REST_S
from bot.services.deployments.records import Cause, Records
from bot.telemetry import logger

log = logger(__name__)
_S = DeploymentState


class Orphans:
    """Ends what has not begun, and asks people what becomes of the rest: it goes on where all of it is back."""

    def __init__(self, records: Records, ending: Ending) -> None:
        self._records = records
        self._ending = ending

    def tend(self, lease: DeploymentLease, target: Target | None) -> None:
        """Do what can be done for one; `target` is None where it is its service or environment that is gone."""
        log.warning("deployment of something that is not configured any more", subject=str(lease.deployment.key))

        def work(tx: Transaction) -> None:
            tx.deployments.hold_line(lease.deployment.service, lease.deployment.environment)
            current = tx.deployments.get(lease.deployment.number, for_change=True)
            if current is None or not tx.deployments.holds(lease):
                return
            now = self._records.now()
            if (ended := self._ended(current, now)) is not None:
                self._ending.end(tx, ended, target, Cause("cancel"))
                return
            if not current.state.is_ended and current.question != NOT_CONFIGURED:
                self._records.progress(tx, note(current, question=NOT_CONFIGURED), due_at=now + REST_S)
            tx.deployments.release(lease, due_at=None if current.state.is_ended else now + REST_S)

        self._records.store.write(work)

    def _ended(self, current: Deployment, now: float) -> Deployment | None:
        """What has not begun, or what somebody wants ended, at its end; None for what waits for people."""
        if current.state.is_waiting:
            return move(current, _S.CANCELLED, now, outcome=NOT_CONFIGURED)
        if current.state is _S.DEPLOYING and current.stop_asked_by:
            return move(current, _S.FAILED, now, outcome=NOT_CONFIGURED, detail=current.stop_asked_by)
        return None
