"""The events as they came."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import ARRAY, Executable, Text, bindparam, func, select

from bot.domain.events import Event
from bot.ports import Arrival
from bot.storage.dialects import insert_new
from bot.storage.groups import lines_of
from bot.storage.rows import NewRows
from bot.storage.tables import events
from bot.storage.unit import Unit

_ADD = insert_new("sqlite", events, "source", "delivery_key").returning(events.c.source, events.c.delivery_key)
_NEW = NewRows(
    "postgresql", events, "source", "delivery_key", "kind", "subject_key", "occurred_at", "received_at", "body"
)


@cache
def _lock_and_add() -> Executable:
    """For PostgreSQL: new rows are told, and their projects locked before, in one order whoever else does it."""
    lines = func.unnest(bindparam("lines", type_=ARRAY(Text))).column_valued("line")
    locked = select(func.count(func.pg_advisory_xact_lock(func.hashtextextended(lines, 0)))).scalar_subquery()
    new = _NEW.insert(locked > 0).on_conflict_do_nothing(index_elements=["source", "delivery_key"])
    return new.returning(events.c.source, events.c.delivery_key)


_NEWEST_EVENTS = (
    select(events.c.kind, events.c.occurred_at, events.c.received_at)
    .where(events.c.subject_key == bindparam("key"))
    .order_by(events.c.id.desc())
    .limit(bindparam("most"))
)


class SqlEventLog:
    """The events table."""

    def __init__(self, connection: Unit) -> None:
        self._connection = connection
        self._stored: dict[tuple[str, str], bool] = {}  # ahead of `add`, and whether that is to say so

    def expect(self, arrivals: Sequence[Arrival]) -> None:
        """Store at once what `add` will be asked to store."""
        coming = [(event, arrival.at) for arrival in arrivals for event in arrival.events]
        rows = [_row(event, at) for event, at in coming]
        if self._connection.dialect.name == "postgresql":
            lines = sorted(lines_of([event for event, _ in coming]))
            new = self._connection.aside(_lock_and_add(), {**_NEW.parameters(rows), "lines": lines})
        else:
            new = self._connection.aside(_ADD, rows)
        self._stored |= {(event.source, event.delivery_key): False for event, _ in coming}
        self._stored |= dict.fromkeys(new, True)

    def add(self, event: Event, received_at: float) -> bool:
        """Store an event; False when its delivery is known already.

        Once it is stored nobody else stores one of the same project until the transaction ends: what an event makes of
        its subject depends on the subjects before and after it, which may not even be there yet.
        """
        delivery = (event.source, event.delivery_key)
        if delivery not in self._stored:
            self.expect([Arrival((event,), received_at)])
        is_new, self._stored[delivery] = self._stored[delivery], False
        return is_new

    def of_subject(self, key: str, limit: int) -> Sequence[tuple[str, float, float]]:
        """The newest events of a subject, oldest first: kind, occurred_at, received_at."""
        newest = self._connection.execute(_NEWEST_EVENTS, {"key": key, "most": limit})
        return [(kind, occurred, received) for kind, occurred, received in newest][::-1]


def _row(event: Event, received_at: float) -> dict[str, Any]:
    return {
        "source": event.source,
        "delivery_key": event.delivery_key,
        "kind": event.kind.value,
        "subject_key": str(event.subject),
        "occurred_at": event.occurred_at.timestamp(),
        "received_at": received_at,
        "body": {
            "phase": int(event.phase),
            "generation": event.generation,
            "attempt": event.attempt,
            "facts": event.facts.to_json(),
        },
    }
