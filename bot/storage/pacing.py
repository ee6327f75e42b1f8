"""How fast places and accounts may be called, and when what waits is looked at again."""

from __future__ import annotations

from functools import cache

from sqlalchemy import bindparam, select, update

from bot.ports import DestinationLease
from bot.storage.deliveries import CHANGE_CARD, IS_HELD
from bot.storage.dialects import Insert, insert_new, upsert
from bot.storage.tables import budgets, destinations
from bot.storage.unit import Unit

_ARRIVAL = (
    select(budgets.c.arrival, budgets.c.paused_until).where(budgets.c.scope == bindparam("name")).with_for_update()
)
_RELEASE = update(destinations).where(IS_HELD).values(lease_until=0.0)


@cache
def _first_use(dialect: str) -> Insert:
    return insert_new(dialect, budgets, "scope")


@cache
def _spend(dialect: str) -> Insert:
    return upsert(dialect, budgets, ["scope"], ["arrival"])


@cache
def _pause(dialect: str) -> Insert:
    return upsert(dialect, budgets, ["scope"], ["paused_until"], newest_by="paused_until")


class SqlPacing:
    """Budgets: those of places stand on their destination, the others in their own table."""

    def __init__(self, connection: Unit) -> None:
        self._connection = connection

    def arrival(self, scope: str) -> tuple[float, float]:
        """An account scope's arrival time and the end of its pause; 0 when unused. Others wait until the end."""
        row = self._connection.execute(_ARRIVAL, {"name": scope}).first()
        if row is None:  # the first use: whoever comes at the same time waits at the row that is made here
            self._connection.execute(_first_use(self._connection.dialect.name), {"scope": scope, "arrival": 0.0})
            row = self._connection.execute(_ARRIVAL, {"name": scope}).one()
        return row.arrival, row.paused_until

    def spend(self, scope: str, arrival: float) -> None:
        """Store a scope's new arrival time."""
        self._connection.execute(_spend(self._connection.dialect.name), {"scope": scope, "arrival": arrival})

    def pause(self, scope: str, until: float) -> None:
        """Let nothing go in this scope before `until`, nor before an earlier pause of it ends."""
        row = {"scope": scope, "arrival": 0.0, "paused_until": until}
        self._connection.execute(_pause(self._connection.dialect.name), row)

    def release(self, lease: DestinationLease, *, arrival: float, free_at: float | None, reason: str) -> bool:
        """Give a destination back; it is free again at `free_at`, None where it was not called: then as it was before.

        False when the lease was lost.
        """
        held = {"held": lease.key, "held_fence": lease.fence}
        changed = {"arrival": arrival, "pause_reason": reason} | ({} if free_at is None else {"free_at": free_at})
        return self._connection.aside(_RELEASE, {**held, **changed}).rowcount == 1

    def postpone(self, card_id: int, due_at: float, reason: str) -> None:
        """Look at a card again at `due_at`."""
        self._connection.execute(CHANGE_CARD, {"card": card_id, "due_at": due_at, "reason": reason})
