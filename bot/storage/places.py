"""Places, subscriptions and the audit trail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, bindparam, case, delete, not_, or_, select, update
from sqlalchemy.sql.functions import max as highest

from bot.domain.audit import AuditEntry, seal
from bot.domain.places import ADMIN_SLOT, CARD_SLOT, Place
from bot.ports import Subscription
from bot.storage.dialects import Insert, insert_new, one_of, upsert
from bot.storage.locks import Lock, hold, hold_named, share
from bot.storage.tables import audit, cards, destinations, places, storms, subscriptions
from bot.storage.unit import Unit
from bot.telemetry import logger

log = logger(__name__)
_ALL = select(places.c.address, places.c.key)
ALL_PROJECTS = "*"
_AT_ONCE = 500  # a statement takes only so many values


@cache
def _ensure(dialect: str) -> Insert:
    return insert_new(dialect, destinations, "key")


@cache
def _adopt(dialect: str) -> Insert:
    return upsert(dialect, places, ["address"], ["key", "label"])


class SqlPlaces:
    """Addresses and the destinations they are."""

    def __init__(self, connection: Unit) -> None:
        self._connection = connection
        self._keys: dict[str, str] | None = None  # one table of few rows, read once a transaction

    def key_of(self, address: str) -> str | None:
        """The resolved key, or None."""
        if self._keys is None:
            self._keys = {row.address: row.key for row in self._connection.aside(_ALL)}
        return self._keys.get(address)

    def ensure(self, known: Sequence[Place]) -> None:
        """Make the destinations' rows exist."""
        if known:
            rows = [{"key": place.key, "label": place.label} for place in known]
            self._connection.execute(_ensure(self._connection.dialect.name), rows)

    def adopt(self, address: str, place: Place) -> None:
        """Record that `address` is `place`, and move what was wanted at the address there."""
        self._record(address, place)
        self._carry(cards.c.destination == address, place, {})
        there = storms.alias()
        is_known = select(there.c.destination).where(there.c.destination == place.key).exists()
        at_address = storms.c.destination == address
        self._connection.execute(update(storms).where(at_address, not_(is_known)).values(destination=place.key))

    def addresses_of(self, key: str) -> Sequence[str]:
        """The addresses that are resolved to a place."""
        return list(self._connection.scalars(select(places.c.address).where(places.c.key == key)))

    def move(self, address: str, key: str, place: Place) -> None:
        """Record that `address`, which was the place `key`, is `place` now; what is under way there is posted anew.

        What has ended and was shown stays where it was, and so do the remarks on it.
        """
        self._record(address, place)
        is_unfinished = or_(cards.c.wanted_revision > cards.c.shown_revision, not_(cards.c.is_final))
        is_post = cards.c.slot.in_((CARD_SLOT, ADMIN_SLOT))  # others go with the card that they belong to
        card = and_(cards.c.destination == key, is_post, not_(cards.c.is_dead), is_unfinished)
        subjects = list(self._connection.scalars(select(cards.c.subject_key).where(card)))
        forgotten = {"message_ref": None, "attempt_id": None, "due_at": 0.0, "tries": 0, "shown_final": False}
        for start in range(0, len(subjects), _AT_ONCE):
            is_moved = and_(cards.c.destination == key, cards.c.subject_key.in_(subjects[start : start + _AT_ONCE]))
            is_card = cards.c.slot == CARD_SLOT
            shown = case((is_card, 0), else_=cards.c.shown_revision)
            self._carry(is_moved, place, {**forgotten, "shown_revision": shown})

    def _record(self, address: str, place: Place) -> None:
        row = {"address": address, "key": place.key, "label": place.label}
        self._connection.execute(_adopt(self._connection.dialect.name), row)
        self._keys = None
        self.ensure([place])

    def _carry(self, which: ColumnElement[bool], place: Place, changes: Mapping[str, Any]) -> None:
        """Give slots to another place, but for those that are open there already."""
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
        self._connection.execute(delete(cards).where(which, is_known))
        self._connection.execute(update(cards).where(which).values(destination=place.key, **changes))


@cache
def _for_projects(dialect: str) -> Select[Any]:
    return select(subscriptions).where(one_of(dialect, subscriptions.c.project, "projects"))


@cache
def _subscribe(dialect: str) -> Insert:
    changed = ["is_mute", "milestones", "locale", "created_by", "created_at"]
    return upsert(dialect, subscriptions, ["destination", "project"], changed, newest_by="created_at")


_OUTRANKED = select(subscriptions.c.project).where(
    subscriptions.c.destination == bindparam("place"),
    subscriptions.c.project == ALL_PROJECTS,
    subscriptions.c.is_mute != bindparam("mutes"),
    subscriptions.c.created_at > bindparam("at"),
)


class SqlSubscriptions:
    """What channels asked for from chat; what one transaction has read, it does not read again."""

    def __init__(self, connection: Unit) -> None:
        self._connection = connection
        self._read: dict[str, list[Subscription]] = {}

    def expect(self, projects: Sequence[str]) -> None:
        """Look for those of all projects at once."""
        asked = {"projects": [*projects, ALL_PROJECTS]}
        rows = self._connection.aside(_for_projects(self._connection.dialect.name), asked)
        found = [wish for row in rows if (wish := _wish_in(row)) is not None]
        for project in projects:
            self._read[project] = [one for one in found if one.project in (project, ALL_PROJECTS)]

    def for_project(self, project: str) -> Sequence[Subscription]:
        """Subscriptions and mutes that concern a project."""
        if project not in self._read:
            self.expect([project])
        return self._read[project]

    def put(self, subscription: Subscription, at: float) -> None:
        """Add or replace the channel's wish for the project; one for `*` ends its opposite ones for single projects.

        `at` is when it was said: whatever was said later stays, in whichever order they are stored.
        """
        place, mutes = subscription.destination, subscription.is_mute
        hold_named(self._connection, f"subscriptions:{place}")
        if self._connection.execute(_OUTRANKED, {"place": place, "mutes": mutes, "at": at}).first() is not None:
            return
        row = {
            "destination": place,
            "project": subscription.project,
            "is_mute": mutes,
            "milestones": list(subscription.milestones),
            "locale": subscription.locale,
            "created_by": subscription.created_by,
            "created_at": at,
        }
        self._connection.execute(_subscribe(self._connection.dialect.name), row)
        if subscription.project == ALL_PROJECTS:
            opposite = and_(subscriptions.c.is_mute != mutes, subscriptions.c.created_at <= at)
            self._connection.execute(delete(subscriptions).where(subscriptions.c.destination == place, opposite))
        self._read.clear()


def _wish_in(row: Row[Any]) -> Subscription | None:
    """The wish in a row; None for one that is no JSON any more: it keeps nobody from hearing of the project."""
    if not isinstance(row.milestones, list):
        log.error("subscription cannot be read, passed over", destination=row.destination, project=row.project)
        return None
    return Subscription(row.destination, row.project, row.is_mute, tuple(row.milestones), row.locale, row.created_by)


class SqlAuditTrail:
    """The append-only trail."""

    def __init__(self, connection: Unit) -> None:
        self._connection = connection

    def append(self, entry: AuditEntry) -> None:
        """Add an entry; it is sealed into the chain later."""
        share(self._connection, Lock.AUDIT)
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
        """Chain the oldest unsealed entries; returns how many.

        Nobody writes an entry meanwhile: one that is not committed yet may have a lower number than those that are.
        """
        hold(self._connection, Lock.AUDIT)
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
