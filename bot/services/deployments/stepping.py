"""One step of a deployment under its lease, and how what came of it is stored.

What was decided outside a transaction counts only if the deployment still stands where it stood, and the lease is
still ours: else the next step judges anew. It is stored as soon as the database can, as long as the lease holds; a
step whose commit got no answer is known by what it made of the deployment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bot.domain.deployments import Deployment
from bot.domain.services import Target
from bot.errors import LeaseLost
from bot.ports import Transaction
from bot.ports.deploying import DeploymentLease
from bot.services.deployments.ending import Ending
from bot.services.deployments.records import Cause, Records
from bot.services.settling import Settling

LEASE_S = 60.0
UNREACHABLE_S = 5.0


@dataclass(frozen=True, slots=True)
class Step:
    """One lease, with what the configuration says of the deployment."""

    lease: DeploymentLease
    deployment: Deployment
    target: Target


class Stepping:
    """Stores what a step came to."""

    def __init__(self, records: Records, ending: Ending) -> None:
        self._records = records
        self._ending = ending
        self._settling = Settling.of(records.store)

    def settle(self, step: Step, next_: Callable[[float], Deployment], *, pause_s: float = 0.0) -> None:
        """Store the next state, which is looked at after a pause; an end also ends what hangs on it."""

        def work(tx: Transaction, _current: Deployment) -> None:
            now = self._records.now()
            after = next_(now)
            if after.state.is_ended:
                self._ending.end(tx, after, step.target, Cause("carry_out"))
            else:
                self._records.put(tx, after, Cause("carry_out"), due_at=now + pause_s)
                self.give_back(tx, step.lease, now + pause_s)

        self.change(step, work)

    def note(self, step: Step, next_: Callable[[float], tuple[Deployment, float]]) -> None:
        """Store what is newly known, if anything is, and when to look again."""

        def work(tx: Transaction, current: Deployment) -> None:
            after, due_at = next_(self._records.now())
            if after.revision != current.revision:
                self._records.progress(tx, after, due_at=due_at)
            self.give_back(tx, step.lease, due_at)

        self.change(step, work)

    def change(self, step: Step, work: Callable[[Transaction, Deployment], None]) -> Deployment | None:
        """Run `work` on the deployment under its row's lock; None where it has moved on since it was taken up."""
        stored: list[Deployment | None] = []  # by tries; whether they were committed the row tells

        def guarded(tx: Transaction) -> Deployment | None:
            tx.deployments.hold_line(step.deployment.service, step.deployment.environment)
            current = tx.deployments.get(step.deployment.number, for_change=True)
            if not tx.deployments.holds(step.lease):
                raise LeaseLost(f"another worker has {step.deployment.key.short}")
            if current is None or current.revision != step.deployment.revision:
                if current in stored:
                    return current
                tx.deployments.release(step.lease, due_at=self._records.now())
                return None
            work(tx, current)
            stored.append(tx.deployments.get(current.number))
            return stored[-1]

        return self._settling.settle(step.lease, guarded)

    def release(self, lease: DeploymentLease, due_at: float | None) -> None:
        """Give one back as it stands, to be taken up at `due_at`; None leaves it to rest."""
        self._settling.settle(lease, lambda tx: tx.deployments.release(lease, due_at=due_at))

    def give_back(self, tx: Transaction, lease: DeploymentLease, due_at: float) -> None:
        """Let others take it up at `due_at`."""
        tx.deployments.release(lease, due_at=due_at)
