"""Deployments and what is locked against them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, Table, and_, delete, func, select, text, update
from sqlalchemy.exc import IntegrityError

from bot.domain.deployments import ACTIVE, WAITING, Deployment, DeploymentState
from bot.errors import Conflict
from bot.ports.deploying import DeploymentLease, Lock
from bot.storage.dialects import Insert, greatest, insert_new
from bot.storage.locks import hold_named
from bot.storage.tables import deployments, locks, rollback_locks
from bot.storage.unit import Unit
from bot.telemetry import UNREADABLE_ROWS, logger

log = logger(__name__)
MOST_FIGURES = 10_000
_UNREADABLE = (AttributeError, LookupError, TypeError, ValueError)  # what a row that makes no sense raises
_GOING_ON = WAITING | ACTIVE
_IS_DUE = text("deployments.due_at IS NOT NULL")  # as the partial index says it, or SQLite does not use it


@cache
def _add(dialect: str) -> Insert:
    return insert_new(dialect, deployments, "dedup_key")


@cache
def _lock(dialect: str, table: Table) -> Insert:
    return insert_new(dialect, table, "service", "environment").execution_options(preserve_rowcount=True)


class SqlDeployments:
    """The deployments table: a snapshot each, and what it is looked up by beside it."""

    def __init__(self, connection: Unit) -> None:
        self._connection = connection

    def hold_line(self, service: str, environment: str) -> None:
        """Keep others from changing what stands in one environment of a service until the transaction ends."""
        hold_named(self._connection, f"deployments:{service}/{environment}")

    def add(self, deployment: Deployment, *, dedup_key: str, due_at: float) -> Deployment | None:
        """Store a new one under the next number (its `number` is ignored); None where `dedup_key` is known already."""
        row: dict[str, Any] = {
            "dedup_key": dedup_key,
            "service": deployment.service,
            "environment": deployment.environment,
            "state": deployment.state.value,
            "is_active": deployment.state.is_active,
            "requested_at": deployment.requested_at,
            "due_at": due_at,
            "snapshot": {},
        }
        adding = _add(self._connection.dialect.name).values(row).returning(deployments.c.number)
        number = self._connection.scalar(adding)
        if number is None:
            return None
        numbered = replace(deployment, number=number)
        snapshot = update(deployments).where(deployments.c.number == number).values(snapshot=numbered.to_json())
        self._connection.execute(snapshot)
        return numbered

    def get(self, number: int, *, for_change: bool = False) -> Deployment | None:
        """One of them; `for_change`, nobody else changes it until the transaction ends."""
        query = select(deployments.c.snapshot).where(deployments.c.number == number)
        found = self._connection.scalar(query.with_for_update() if for_change else query)
        return None if found is None else Deployment.from_json(found)

    def put(self, deployment: Deployment, *, due_at: float | None) -> None:
        """Store the next snapshot, to be taken up at `due_at`; None leaves it to rest.

        Conflict where another deployment of the same service and environment is active.
        """
        changed = {
            "state": deployment.state.value,
            "is_active": deployment.state.is_active,
            "ended_at": deployment.ended_at,
            "due_at": due_at,
            "snapshot": deployment.to_json(),
        }
        statement = update(deployments).where(deployments.c.number == deployment.number).values(changed)
        try:
            with self._connection.begin_nested():
                self._connection.execute(statement)
        except IntegrityError:
            raise Conflict(
                "Another deployment of {service} in {environment} is under way.",
                service=deployment.service,
                environment=deployment.environment,
            ) from None

    def wake(self, service: str, environment: str, at: float) -> None:
        """Let what is queued there be taken up at `at`; what has gone on meanwhile is left as it is."""
        is_meant = and_(*_are_meant(service, environment, frozenset({DeploymentState.QUEUED})))
        self._connection.execute(update(deployments).where(is_meant).values(due_at=at))

    def lease(self, now: float, until: float, limit: int) -> Sequence[DeploymentLease]:
        """Take deployments that are due; one that cannot be read rests, and the others do not wait."""
        due = (
            select(deployments.c.number, deployments.c.fence, deployments.c.due_at, deployments.c.snapshot)
            .where(_IS_DUE, deployments.c.due_at <= now, deployments.c.lease_until <= now)
            .order_by(deployments.c.due_at, deployments.c.number)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        taken = []
        for row in self._connection.execute(due).all():
            try:
                taken.append(DeploymentLease(Deployment.from_json(row.snapshot), row.fence + 1, row.due_at))
            except _UNREADABLE as problem:  # written by another version
                log.error("deployment cannot be read, left to rest", number=row.number, error=problem)
                UNREADABLE_ROWS.labels("deployments").inc()
                is_meant = deployments.c.number == row.number
                self._connection.execute(update(deployments).where(is_meant).values(due_at=None))
        if taken:
            numbers = [lease.deployment.number for lease in taken]
            self._connection.execute(
                update(deployments)
                .where(deployments.c.number.in_(numbers))
                .values(lease_until=until, fence=deployments.c.fence + 1)
            )
        return taken

    def release(self, lease: DeploymentLease, *, due_at: float | None) -> bool:
        """Give one back as it stands; False when the lease was lost."""
        giving = update(deployments).where(_held(lease)).values(lease_until=0.0, due_at=due_at)
        return self._connection.execute(giving).rowcount == 1

    def holds(self, lease: DeploymentLease) -> bool:
        """Whether the lease still stands; nobody else takes it until the transaction ends."""
        query = select(deployments.c.number).where(_held(lease)).with_for_update()
        return self._connection.execute(query).first() is not None

    def next_due_at(self) -> float | None:
        """When the next one can be taken."""
        soonest = greatest(self._connection.dialect.name, deployments.c.due_at, deployments.c.lease_until)
        found: float | None = self._connection.scalar(select(func.min(soonest)).where(_IS_DUE))
        return found

    def newest(
        self, service: str | None, environment: str | None, states: frozenset[DeploymentState] | None, limit: int
    ) -> Sequence[Deployment]:
        """Newest first."""
        return _readable(self._connection.execute(_newest(service, environment, states, limit)))

    def unreadable(
        self, service: str, environment: str, states: frozenset[DeploymentState], limit: int
    ) -> Sequence[int]:
        """The numbers of those among the newest that `newest` passes over, newest first."""
        rows = self._connection.execute(_newest(service, environment, states, limit)).all()
        return [row.number for row in rows if not _readable([row])]

    def some(self, numbers: Collection[int]) -> Sequence[Deployment]:
        """Those of them that there are."""
        query = select(deployments.c.number, deployments.c.snapshot).where(deployments.c.number.in_(sorted(numbers)))
        return _readable(self._connection.execute(query)) if numbers else []

    def since(self, service: str | None, at: float) -> Sequence[Deployment]:
        """Those that ended since, oldest first, at most 10,000; for figures."""
        query = select(deployments.c.number, deployments.c.snapshot).where(deployments.c.ended_at >= at)
        if service is not None:
            query = query.where(deployments.c.service == service)
        return _readable(self._connection.execute(query.order_by(deployments.c.ended_at).limit(MOST_FIGURES)))


def _newest(
    service: str | None, environment: str | None, states: frozenset[DeploymentState] | None, limit: int
) -> Select[tuple[int, Any]]:
    meant, newest_first = _are_meant(service, environment, states), deployments.c.number.desc()
    if service is not None and environment is None:  # no index has them in this order: sorted without their snapshots
        numbers = select(deployments.c.number).where(*meant).order_by(newest_first).limit(limit)
        meant = [deployments.c.number.in_(numbers)]
    return select(deployments.c.number, deployments.c.snapshot).where(*meant).order_by(newest_first).limit(limit)


def _are_meant(
    service: str | None, environment: str | None, states: frozenset[DeploymentState] | None
) -> list[ColumnElement[bool]]:
    """Of which service, environment and states; what has not ended is found along its own index.

    Of a line most have ended, and mostly all: it would be gone through as far back as it reaches, each time.
    """
    are_going_on = states is not None and states <= _GOING_ON
    line = [(deployments.c.service, service), (deployments.c.environment, environment)]
    named = [(column, name) for column, name in line if name is not None]
    # As an expression the line is no index's.
    meant = [(func.coalesce(column, "") if are_going_on else column) == name for column, name in named]
    meant += [deployments.c.ended_at == 0.0] if are_going_on else []
    return meant + ([deployments.c.state.in_([state.value for state in states])] if states is not None else [])


def _readable(rows: Iterable[Row[Any]]) -> list[Deployment]:
    """The deployments of those rows that make sense: one that does not keeps nobody from the others."""
    found = []
    for row in rows:
        try:
            found.append(Deployment.from_json(row.snapshot))
        except _UNREADABLE as problem:
            log.error("deployment cannot be read, passed over", number=row.number, error=problem)
            UNREADABLE_ROWS.labels("deployments").inc()
    return found


def _held(lease: DeploymentLease) -> ColumnElement[bool]:
    return and_(deployments.c.number == lease.deployment.number, deployments.c.fence == lease.fence)


class SqlLocks:
    """The tables of locks: those of people, and those of rollbacks."""

    def __init__(self, connection: Unit) -> None:
        self._connection = connection

    def put(self, lock: Lock) -> bool:
        """Lock; False where it is locked already by one of its kind."""
        table = rollback_locks if lock.is_of_rollback else locks
        row = {column.name: getattr(lock, column.name) for column in table.columns}
        return self._connection.execute(_lock(self._connection.dialect.name, table), row).rowcount == 1

    def drop(self, service: str, environment: str) -> Lock | None:
        """Take away a person's lock of exactly that, or where there is none a rollback's; what was taken away."""
        for table in (locks, rollback_locks):
            is_meant = and_(table.c.service == service, table.c.environment == environment)
            found = self._found(table, is_meant)
            if found:
                self._connection.execute(delete(table).where(is_meant))
                return found[0]
        return None

    def over(self, service: str, environment: str) -> Sequence[Lock]:
        """The locks that keep a service's environment, oldest first."""
        return [lock for lock in self.of(service) if lock.environment in ("", environment)]

    def of(self, service: str) -> Sequence[Lock]:
        """Every lock of a service, oldest first."""
        found = [lock for table in (locks, rollback_locks) for lock in self._found(table, table.c.service == service)]
        return sorted(found, key=lambda lock: lock.at)

    def _found(self, table: Table, is_meant: ColumnElement[bool]) -> list[Lock]:
        rows = self._connection.execute(select(table).where(is_meant))
        return [Lock(**row._mapping, is_of_rollback=table is rollback_locks) for row in rows]
