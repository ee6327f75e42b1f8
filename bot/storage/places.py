"""Places, subscriptions and the audit trail."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, or_, select, update
from sqlalchemy.sql.functions import max as highest

from bot.domain.audit import AuditEntry, seal
from bot.domain.places import Place
from bot.ports import Subscription
from bot.storage.dialects import insert_into
from bot.storage.tables import audit, cards, destinations, places, subscriptions


class SqlPlaces:
    """Addresses and the destinations they are."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def key_of(self, address: str) -> str | None:
        """The resolved key, or None."""
        found: str | None = self._connection.scalar(select(places.c.key).where(places.c.address == address))
        return found

    def ensure(self, known: Sequence[Place]) -> None:
        """Make the destinations' rows exist."""
        if known:
            statement = insert_into(self._connection, destinations).on_conflict_do_nothing(index_elements=["key"])
            self._connection.execute(statement, [{"key": place.key, "label": place.label} for place in known])

    def adopt(self, address: str, place: Place) -> None:
        """Record that `address` is `place`, and move what was wanted at the address there."""
        statement = insert_into(self._connection, places)
        self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=["address"],
                set_={"key": statement.excluded.key, "label": statement.excluded.label},
            ),
            {"address": address, "key": place.key, "label": place.label},
        )
        self.ensure([place])
        there = cards.alias()
        is_known = (
            select(there.c.id)
            .where(
                there.c.destination == place.key,
                there.c.subject_key == cards.c.subject_key,
                there.c.slot == cards.c.slot,
            )
            .exists()
        )
        self._connection.execute(delete(cards).where(cards.c.destination == address, is_known))
        self._connection.execute(update(cards).where(cards.c.destination == address).values(destination=place.key))


class SqlSubscriptions:
    """What channels asked for from chat."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def for_project(self, project: str) -> Sequence[Subscription]:
        """Subscriptions and mutes that concern a project."""
        rows = select(subscriptions).where(or_(subscriptions.c.project == project, subscriptions.c.project == "*"))
        return [
            Subscription(row.destination, row.project, row.is_mute, tuple(row.milestones), row.locale, row.created_by)
            for row in self._connection.execute(rows)
        ]

    def put(self, subscription: Subscription, at: float) -> None:
        """Add or replace the channel's wish for the project."""
        row = {
            "destination": subscription.destination,
            "project": subscription.project,
            "is_mute": subscription.is_mute,
            "milestones": list(subscription.milestones),
            "locale": subscription.locale,
            "created_by": subscription.created_by,
            "created_at": at,
        }
        statement = insert_into(self._connection, subscriptions)
        changed = {name: statement.excluded[name] for name in row if name not in ("destination", "project")}
        self._connection.execute(
            statement.on_conflict_do_update(index_elements=["destination", "project"], set_=changed), row
        )


class SqlAuditTrail:
    """The append-only trail."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def append(self, entry: AuditEntry) -> None:
        """Add an entry; it is sealed into the chain later."""
        self._connection.execute(
            audit.insert(),
            {
                "at": entry.at,
                "actor": entry.actor,
                "verb": entry.verb,
                "target": entry.target,
                "outcome": entry.outcome,
                "detail": entry.detail,
                "command_id": entry.command_id,
            },
        )

    def seal(self, limit: int) -> int:
        """Chain the oldest unsealed entries; returns how many."""
        rows = self._connection.execute(
            select(audit).where(audit.c.hash.is_(None)).order_by(audit.c.seq).limit(limit)
        ).all()
        sealed = select(highest(audit.c.seq)).where(audit.c.hash.is_not(None)).scalar_subquery()
        previous = self._connection.scalar(select(audit.c.hash).where(audit.c.seq == sealed)) or ""
        for row in rows:
            entry = AuditEntry(row.at, row.actor, row.verb, row.target, row.outcome, row.detail, row.command_id)
            link = seal(entry, row.seq, previous)
            self._connection.execute(
                update(audit).where(audit.c.seq == row.seq).values(previous_hash=previous, hash=link)
            )
            previous = link
        return len(rows)
