"""How fast places and accounts may be called, and when what waits is looked at again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache

from sqlalchemy import Update, bindparam, select, update

from bot.domain.budgets import Budget
from bot.ports import DestinationLease
from bot.storage.budgets import RATE_LIMITED
from bot.storage.deliveries import CHANGE_CARD, IS_HELD
from bot.storage.dialects import Insert, greatest, insert_new, upsert
from bot.storage.tables import budgets, cards, destinations
from bot.storage.unit import Unit

_ARRIVAL = (
    select(budgets.c.arrival, budgets.c.paused_until).where(budgets.c.scope == bindparam("name")).with_for_update()
)
_PAUSES = select(budgets.c.scope, budgets.c.paused_until).where(
    budgets.c.scope.in_(bindparam("names", expanding=True)), budgets.c.paused_until > bindparam("since")
)
_GIVE_BACK = update(destinations).where(IS_HELD).values(lease_until=0.0)
_IS_PLACE = destinations.c.key == bindparam("place")
_PLACE = select(destinations).where(_IS_PLACE).with_for_update()
_TAKE = update(destinations).where(_IS_PLACE).values(lease_until=bindparam("until"), fence=destinations.c.fence + 1)
_CHANGE_WITHOUT_NEWS = CHANGE_CARD.where(cards.c.wanted_revision <= bindparam("newest"))
_KEEP_FREE = update(destinations).where(_IS_PLACE)
LOOK_S = 0.3  # after which a call that is under way has probably ended
KEPT_FREE_S = 1.0  # beyond that, for whoever comes a moment later than at once


@cache
def _first_use(dialect: str) -> Insert:
    return insert_new(dialect, budgets, "scope")


@cache
def _release(dialect: str) -> Update:
    """Where somebody waits to answer, the place is kept free longer than its budget asks."""
    return _GIVE_BACK.values(free_at=greatest(dialect, destinations.c.free_at, bindparam("ready_at")))


@cache
def _known(dialect: str) -> Insert:
    return insert_new(dialect, destinations, "key")


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

    def pauses(self, scopes: Collection[str], since: float) -> Mapping[str, float]:
        """The ends of those scopes' pauses that end, or ended, after `since`."""
        found = self._connection.execute(_PAUSES, {"names": sorted(scopes), "since": since})
        return {row.scope: row.paused_until for row in found}

    def release(self, lease: DestinationLease, *, arrival: float, free_at: float | None, reason: str) -> bool:
        """Give a destination back; it is free again at `free_at`, None where it was not called: then as it was before.

        False when the lease was lost.
        """
        held = {"held": lease.key, "held_fence": lease.fence}
        changed = {"arrival": arrival, "pause_reason": reason}
        if free_at is None:
            return self._connection.aside(_GIVE_BACK, {**held, **changed}).rowcount == 1
        statement = _release(self._connection.dialect.name)
        return self._connection.aside(statement, {**held, **changed, "ready_at": free_at}).rowcount == 1

    def lease(self, key: str, pace: Budget, now: float, until: float) -> DestinationLease | float:
        """Take a place for an answer, which goes before its cards; else when to come back.

        Until then, and a moment longer, no card is taken there.
        """
        row = self._connection.execute(_PLACE, {"place": key}).first()
        if row is None:
            self._connection.execute(_known(self._connection.dialect.name), {"key": key, "label": key})
            row = self._connection.execute(_PLACE, {"place": key}).one()
        if row.free_at > now and row.pause_reason == RATE_LIMITED:
            return float(row.free_at)
        ready_at = max(pace.ready_at(row.arrival), now + LOOK_S if row.lease_until > now else 0.0)
        if ready_at > now:
            kept = {"place": key, "free_at": max(row.free_at, ready_at + KEPT_FREE_S)}
            self._connection.execute(_KEEP_FREE, kept)
            return ready_at
        self._connection.execute(_TAKE, {"place": key, "until": until})
        return DestinationLease(row.key, row.label, row.arrival, row.fence + 1)

    def postpone(self, card_id: int, due_at: float, reason: str, *, unless_after: int | None = None) -> None:
        """Look at a card again at `due_at`, unless a revision is wanted that came after that one."""
        changed = {"card": card_id, "due_at": due_at, "reason": reason}
        if unless_after is None:
            self._connection.execute(CHANGE_CARD, changed)
        else:
            self._connection.execute(_CHANGE_WITHOUT_NEWS, {**changed, "newest": unless_after})
