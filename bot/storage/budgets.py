"""Accounts' budgets: what is spent of their windows, and the line of destinations that wait for each.

One transaction at a time looks at them. A claim meets those of several accounts in any order, and a lock for each would
have two workers wait for each other; it takes milliseconds, and the platforms allow a few calls a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from sqlalchemy import and_, bindparam, delete, func, or_, select

from bot.domain.budgets import Spent, Window
from bot.ports.budgets import BudgetReport, BudgetState, Turn
from bot.storage.dialects import Insert, upsert
from bot.storage.locks import Lock, hold
from bot.storage.tables import budget_waits, budgets, destinations
from bot.storage.unit import Unit

STALE_S = 60.0  # who did not come for so long after its turn has lost its place
RATE_LIMITED = "paused:rate_limited"

_STATE = select(budgets.c.spent, budgets.c.paused_until).where(budgets.c.scope == bindparam("name"))
_IS_IT = and_(budget_waits.c.scope == bindparam("name"), budget_waits.c.destination == bindparam("place"))
_WAIT = select(budget_waits.c.is_urgent, budget_waits.c.since, budget_waits.c.until).where(_IS_IT)
_LEAVE = delete(budget_waits).where(_IS_IT)
_CAME_BEFORE = or_(
    budget_waits.c.since < bindparam("since"),
    and_(budget_waits.c.since == bindparam("since"), budget_waits.c.destination < bindparam("place")),
)
_IS_WAITING = and_(budget_waits.c.scope == bindparam("name"), budget_waits.c.until > bindparam("now"))
_AHEAD = select(
    func.count().filter(or_(budget_waits.c.is_urgent, _CAME_BEFORE)).label("of_progress"),
    func.count().filter(and_(budget_waits.c.is_urgent, _CAME_BEFORE)).label("of_urgent"),
).where(_IS_WAITING, budget_waits.c.destination != bindparam("place"))
_WINDOWS = select(budgets.c.scope, budgets.c.calls, budgets.c.per_s, budgets.c.spent, budgets.c.paused_until).where(
    budgets.c.calls > 0
)
_WAITING = (
    select(budget_waits.c.scope, func.count().label("waiting"))
    .where(budget_waits.c.until > bindparam("now"))
    .group_by(budget_waits.c.scope)
)
_PAUSED_PLACES = select(destinations.c.key, destinations.c.free_at).where(
    destinations.c.free_at > bindparam("now"), destinations.c.pause_reason == RATE_LIMITED
)


@cache
def _store(dialect: str) -> Insert:
    return upsert(dialect, budgets, ["scope"], ["arrival", "calls", "per_s", "spent"])


@cache
def _line_up(dialect: str) -> Insert:
    return upsert(dialect, budget_waits, ["scope", "destination"], ["is_urgent", "since", "until"])


class SqlBudgets:
    """The budgets table, and the lines."""

    def __init__(self, connection: Unit) -> None:
        self._connection = connection

    def open(self, window: Window) -> BudgetState:
        """A window's state; nobody else changes it, or its line, until the transaction ends."""
        hold(self._connection, Lock.BUDGETS)
        row = self._connection.execute(_STATE, {"name": window.scope}).first()
        return (
            BudgetState(Spent(), 0.0)
            if row is None
            else BudgetState(Spent.from_json(row.spent or []), row.paused_until)
        )

    def store(self, window: Window, spent: Spent, at: float, *, served: str | None = None) -> None:
        """Store what is spent now; the destination that was `served` leaves the line."""
        row = {"scope": window.scope, "arrival": at, "calls": window.calls, "per_s": window.per_s}
        self._connection.execute(_store(self._connection.dialect.name), {**row, "spent": spent.to_json()})
        if served is not None:
            self._connection.execute(_LEAVE, {"name": window.scope, "place": served})

    def turn(self, scope: str, destination: str, *, is_urgent: bool, now: float) -> Turn:
        """Where a destination stands, or would stand: behind what is more urgent, and behind who came before."""
        here = {"name": scope, "place": destination}
        own = self._connection.execute(_WAIT, here).first()
        since = own.since if own is not None and now < own.until + STALE_S else None
        counted = {**here, "now": now, "since": now if since is None else since}
        ahead = self._connection.execute(_AHEAD, counted).one()
        return Turn(ahead.of_urgent if is_urgent else ahead.of_progress, since)

    def line_up(self, scope: str, destination: str, *, is_urgent: bool, now: float, until: float) -> None:
        """Let a destination wait in the line, where it is passed by others from `until` on."""
        own = self._connection.execute(_WAIT, {"name": scope, "place": destination}).first()
        since = now
        if own is not None and now < own.until + STALE_S:
            if own.is_urgent and not is_urgent:
                return  # something that is more urgent waits there too
            since = own.since if own.is_urgent == is_urgent else now
        row = {"scope": scope, "destination": destination, "is_urgent": is_urgent, "since": since, "until": until}
        self._connection.execute(_line_up(self._connection.dialect.name), row)

    def report(self, now: float) -> Sequence[BudgetReport]:
        """The windows that were used of late, and the places that are paused by their platform."""
        waiting = {row.scope: row.waiting for row in self._connection.execute(_WAITING, {"now": now})}
        found = []
        for row in self._connection.execute(_WINDOWS):
            window = Window(row.scope, row.calls, row.per_s)
            state = BudgetState(window.fresh(Spent.from_json(row.spent or []), now), row.paused_until)
            found.append(BudgetReport(row.scope, window, state, waiting.get(row.scope, 0)))
        for key, free_at in self._connection.execute(_PAUSED_PLACES, {"now": now}):
            found.append(BudgetReport(key, None, BudgetState(Spent(), free_at)))
        return found
