"""A clock that was set back: what is stored by its former time is turned back with it.

Work is planned by stored instants: a place is free from one on, a try is due at one. After an hour's correction all of
that would lie an hour away, and nothing would be shown meanwhile. That instants of the past lie in the future tells
that it happened, also while nothing ran.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import Column, Engine, Update, func, select, text, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from bot.errors import StorageUnavailable
from bot.ports import Clock
from bot.storage.tables import (
    attempts,
    budget_waits,
    budgets,
    cards,
    commands,
    deployments,
    destinations,
    events,
    jobs,
    joined_accounts,
    link_codes,
    polls,
    storms,
    tracker_tasks,
)
from bot.telemetry import logger

LEAST_S = 120.0  # what is set back by less delays things by as much; nothing that is under way is planned for longer
_RECORDS = (events.c.received_at, attempts.c.started_at, commands.c.accepted_at)
HAPPENED = (
    *_RECORDS,
    attempts.c.finished_at,
    budget_waits.c.since,
    cards.c.final_since,
    cards.c.attempt_started_at,
    commands.c.triggered_at,
    jobs.c.created_at,
    joined_accounts.c.joined_at,
    joined_accounts.c.parted_at,
    link_codes.c.failed_at,
    polls.c.begun_at,
    polls.c.polled_at,
    storms.c.begun_at,
)
PLANNED = (
    budget_waits.c.until,
    budgets.c.arrival,
    budgets.c.paused_until,
    cards.c.due_at,
    commands.c.due_at,
    commands.c.lease_until,
    deployments.c.due_at,
    deployments.c.lease_until,
    destinations.c.arrival,
    destinations.c.free_at,
    destinations.c.lease_until,
    jobs.c.due_at,
    jobs.c.lease_until,
    link_codes.c.expires_at,
    storms.c.quiet_at,
    tracker_tasks.c.due_at,
    tracker_tasks.c.lease_until,
)

log = logger(__name__)


class SetBack:
    """Looks whether `clock` was set back since the last look, or since something was stored."""

    def __init__(self, engine: Engine, clock: Clock, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._clock = clock
        self._monotonic = monotonic
        self._last: tuple[float, float] | None = None

    def look(self) -> float:
        """Turn back what is stored where that is needed; by how many seconds. StorageUnavailable when it cannot be."""
        now, at = self._clock.now().timestamp(), self._monotonic()
        try:
            back_s = self._newest() - now
            if back_s > LEAST_S:
                if self._last is not None:  # nothing may have been stored for a while before it happened
                    back_s = max(back_s, self._last[0] + at - self._last[1] - now)
                self._turn_back(now, back_s)
        except (SQLAlchemyError, PoolTimeout) as problem:
            raise StorageUnavailable(f"times are not turned back: {type(problem).__name__}") from None
        self._last = now, at
        return max(0.0, back_s) if back_s > LEAST_S else 0.0

    def _newest(self) -> float:
        """The latest instant at which something was stored."""
        with self._engine.connect() as connection:
            return max(float(connection.scalar(select(func.max(column))) or 0.0) for column in _RECORDS)

    def _turn_back(self, now: float, back_s: float) -> None:
        log.warning("the clock was set back, and what is planned with it", seconds=round(back_s))
        with self._engine.connect() as connection:
            if self._engine.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:  # whole tables are looked through, which takes as long as they are large: it must get through
                connection.execute(text("SET LOCAL statement_timeout = 0"))
            for columns, after in ((PLANNED, now + LEAST_S), (HAPPENED, now)):
                for column in columns:
                    connection.execute(_earlier(column, back_s, after))
            connection.commit()


def _earlier(column: Column[float | None], by: float, after: float) -> Update:
    return update(column.table).where(column > after).values({column: column - by})
