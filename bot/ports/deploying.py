"""What services ask of a system that carries deployments out, and of the database that remembers them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from bot.domain.deployments import Deployment, DeploymentState, Run


class RunState(StrEnum):
    """How a run stands."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be run: `pipeline` is the system's name of it, `correlation` is left in the run so that it is found.

    `since` is when it was first meant to start.
    """

    pipeline: str
    parameters: Mapping[str, str]
    correlation: str
    asked_by: str
    since: datetime


@dataclass(frozen=True, slots=True)
class RunReport:
    """A run as its system tells of it now; `detail` are the system's own words on a failure."""

    run: Run
    state: RunState
    detail: str = ""


class DeploySystem(Protocol):
    """Runs what deploys. Calls try once, within 8 s. OutcomeUnknown: ask `find` before anything else."""

    def probe(self, order: Order) -> None:
        """Return where the system answers and knows the pipeline; raises IntegrationError."""
        ...

    def deploy(self, order: Order) -> Run:
        """Start it; raises IntegrationError."""
        ...

    def find(self, order: Order) -> Run | None:
        """The run that carries our correlation, or None when there certainly is none."""
        ...

    def look(self, order: Order, run: Run) -> RunReport:
        """How a run stands; DestinationGone when the system dropped it, and for nothing else that is missing."""
        ...

    def stop(self, order: Order, run: Run) -> bool:
        """Ask for its end, also while it waits for its turn; False when it had ended already. `look` tells the rest."""
        ...


@dataclass(frozen=True, slots=True)
class DeploymentLease:
    """A deployment taken up by one worker, which was due at `due_at`; settling is conditional on `fence`."""

    deployment: Deployment
    fence: int
    due_at: float
    held_until: float = 0.0


@dataclass(frozen=True, slots=True)
class Lock:
    """Nothing is deployed to a service's environment until somebody unlocks it; an empty environment means all.

    Those of rollbacks stand beside those of people.
    """

    service: str
    environment: str
    reason: str
    account: str
    name: str
    at: float
    is_of_rollback: bool = False


class Deployments(Protocol):
    """The deployments as stored: a snapshot each, changed under its row's lock."""

    def hold_line(self, service: str, environment: str) -> None:
        """Keep others from changing what stands in one environment of a service until the transaction ends.

        Taken before any of its rows: who changes one deployment may have to change, or to heed, the others.
        """
        ...

    def add(self, deployment: Deployment, *, dedup_key: str, due_at: float) -> Deployment | None:
        """Store a new one under the next number (its `number` is ignored); None where `dedup_key` is known already."""
        ...

    def get(self, number: int, *, for_change: bool = False) -> Deployment | None:
        """One of them; `for_change`, nobody else changes it until the transaction ends."""
        ...

    def put(self, deployment: Deployment, *, due_at: float | None) -> None:
        """Store the next snapshot, to be taken up at `due_at`; None leaves it to rest.

        Conflict where another deployment of the same service and environment is active.
        """
        ...

    def wake(self, service: str, environment: str, at: float) -> None:
        """Let what is queued there be taken up at `at`."""
        ...

    def lease(self, now: float, until: float, limit: int) -> Sequence[DeploymentLease]:
        """Take deployments that are due."""
        ...

    def release(self, lease: DeploymentLease, *, due_at: float | None) -> bool:
        """Give one back as it stands; False when the lease was lost."""
        ...

    def holds(self, lease: DeploymentLease) -> bool:
        """Whether the lease still stands; nobody else takes it until the transaction ends."""
        ...

    def next_due_at(self) -> float | None:
        """When the next one can be taken."""
        ...

    def newest(
        self, service: str | None, environment: str | None, states: frozenset[DeploymentState] | None, limit: int
    ) -> Sequence[Deployment]:
        """Newest first; as from all lists, those that cannot be read are left out."""
        ...

    def unreadable(
        self, service: str, environment: str, states: frozenset[DeploymentState], limit: int
    ) -> Sequence[int]:
        """The numbers of those that `newest` left out, newest first."""
        ...

    def some(self, numbers: Collection[int]) -> Sequence[Deployment]:
        """Those of them that there are."""
        ...

    def since(self, service: str | None, at: float) -> Sequence[Deployment]:
        """Those that ended since, oldest first, at most 10,000; for figures."""
        ...


class Locks(Protocol):
    """What is locked: each environment of a service at most once by people, and once by a rollback."""

    def put(self, lock: Lock) -> bool:
        """Lock; False where it is locked already by one of its kind."""
        ...

    def drop(self, service: str, environment: str) -> Lock | None:
        """Take away a person's lock of exactly that, or where there is none a rollback's; what was taken away."""
        ...

    def over(self, service: str, environment: str) -> Sequence[Lock]:
        """The locks that keep a service's environment, oldest first."""
        ...

    def of(self, service: str) -> Sequence[Lock]:
        """Every lock of a service, oldest first."""
        ...
