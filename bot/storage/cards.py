"""What stands where, and the work that follows from it: leases, attempts, pacing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, case, delete, exists, func, select, text, update

from bot.domain.places import CARD_SLOT
from bot.ports import CardRecord, DestinationLease, Settlement, Slot
from bot.storage.dialects import greatest, insert_into
from bot.storage.tables import attempts, budgets, cards, destinations

_IS_DIRTY = text("cards.wanted_revision > cards.shown_revision AND NOT cards.is_dead")
_RECORD = tuple(
    cards.c[name]
    for name in (
        "id",
        "subject_key",
        "destination",
        "slot",
        "wanted_revision",
        "shown_revision",
        "shown_digest",
        "message_ref",
        "is_final",
        "final_since",
        "shown_final",
        "is_dead",
        "due_at",
        "tries",
        "attempt_id",
        "attempt_started_at",
        "attempt_revision",
        "options",
        "reason",
    )
)


class SqlCards:
    """The cards table, as ingest and commands see it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def open(self, subject: str, revision: int, slots: Sequence[Slot], *, is_final: bool, at: float) -> None:
        """Open slots that are not open yet."""
        if not slots:
            return
        rows = [
            {
                "subject_key": subject,
                "destination": slot.destination,
                "slot": slot.slot,
                "wanted_revision": revision,
                "is_final": is_final,
                "final_since": at if is_final else 0.0,
                "options": dict(slot.options),
                "opened_at": at,
            }
            for slot in slots
        ]
        statement = insert_into(self._connection, cards).on_conflict_do_nothing(
            index_elements=["subject_key", "destination", "slot"]
        )
        self._connection.execute(statement, rows)

    def want(self, subject: str, revision: int, *, is_final: bool, at: float) -> int:
        """Ask for the newest state at every open card of the subject; returns how many there are."""
        wanted: dict[str, Any] = {"wanted_revision": revision, "is_final": is_final}
        if is_final:  # a final state does not wait for the pace of progress, only for a failed attempt's pause
            wanted["due_at"] = case((cards.c.tries == 0, 0.0), else_=cards.c.due_at)
            is_waiting = and_(cards.c.final_since > 0, cards.c.wanted_revision > cards.c.shown_revision)
            wanted["final_since"] = case((is_waiting, cards.c.final_since), else_=at)
        else:
            wanted["final_since"] = 0.0
            wanted["shown_final"] = False  # a final state that was shown belonged to an earlier attempt
        card_rows = and_(cards.c.subject_key == subject, cards.c.slot == CARD_SLOT)
        return self._connection.execute(update(cards).where(card_rows).values(wanted)).rowcount

    def of_subject(self, subject: str) -> Sequence[CardRecord]:
        """All slots of a subject."""
        rows = select(*_RECORD).where(cards.c.subject_key == subject).order_by(cards.c.id)
        return [CardRecord(*row) for row in self._connection.execute(rows)]

    def forget(self, subject: str) -> None:
        """Drop all slots of a subject: its number now names another run."""
        self._connection.execute(delete(cards).where(cards.c.subject_key == subject))

    def overdue_finals(self, before: float, limit: int) -> Sequence[CardRecord]:
        """Shown cards whose final state has been wanted since before `before` and is not shown."""
        rows = (
            select(*_RECORD)
            .where(
                _IS_DIRTY,
                cards.c.slot == CARD_SLOT,
                cards.c.is_final.is_(True),
                cards.c.final_since < before,
                cards.c.message_ref.is_not(None),
            )
            .limit(limit)
        )
        return [CardRecord(*row) for row in self._connection.execute(rows)]


class SqlDeliveries:
    """The same table, as the worker sees it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def next_ready_at(self) -> float | None:
        """When the next destination with wanted work is free; None when nothing is wanted."""
        earliest = (
            select(func.min(cards.c.due_at))
            .where(cards.c.destination == destinations.c.key, _IS_DIRTY)
            .correlate(destinations)
            .scalar_subquery()
        )
        wanted = select(destinations.c.free_at, destinations.c.lease_until, earliest.label("due")).subquery()
        ready = greatest(self._connection, wanted.c.free_at, wanted.c.lease_until, wanted.c.due)
        found: float | None = self._connection.scalar(select(func.min(ready)).where(wanted.c.due.is_not(None)))
        return found

    def lease(self, now: float, until: float, limit: int) -> Sequence[DestinationLease]:
        """Take destinations that are free and have due work, the longest waiting first."""
        has_work = exists(
            select(cards.c.id).where(cards.c.destination == destinations.c.key, cards.c.due_at <= now, _IS_DIRTY)
        )
        free = (
            select(destinations.c.key, destinations.c.label, destinations.c.arrival, destinations.c.fence)
            .where(destinations.c.free_at <= now, destinations.c.lease_until <= now, has_work)
            .order_by(destinations.c.free_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        leases = [
            DestinationLease(key, label, arrival, fence + 1)
            for key, label, arrival, fence in self._connection.execute(free)
        ]
        if leases:
            self._connection.execute(
                update(destinations)
                .where(destinations.c.key.in_([lease.key for lease in leases]))
                .values(lease_until=until, fence=destinations.c.fence + 1)
            )
        return leases

    def due_cards(self, destination: str, now: float, limit: int) -> Sequence[CardRecord]:
        """A destination's due slots: cards before threads, new and final states before progress, oldest first."""
        urgency = case(
            (and_(cards.c.slot == CARD_SLOT, cards.c.message_ref.is_(None)), 0),
            (and_(cards.c.slot == CARD_SLOT, cards.c.is_final.is_(True)), 1),
            (cards.c.slot != CARD_SLOT, 2),
            else_=3,
        )
        rows = (
            select(*_RECORD)
            .where(cards.c.destination == destination, cards.c.due_at <= now, _IS_DIRTY)
            .order_by(urgency, cards.c.due_at, cards.c.id)
            .limit(limit)
        )
        return [CardRecord(*row) for row in self._connection.execute(rows)]

    def begin(self, card: CardRecord, attempt_id: str, operation: str, now: float) -> None:
        """Record that an attempt is about to be made; for a post it stays open on the card until settled."""
        attempt = {
            "id": attempt_id,
            "card_id": card.id,
            "revision": card.wanted_revision,
            "operation": operation,
            "started_at": now,
            "outcome": "started",
        }
        self._connection.execute(attempts.insert(), attempt)
        if card.message_ref is None:
            self._connection.execute(
                update(cards)
                .where(cards.c.id == card.id)
                .values(attempt_id=attempt_id, attempt_started_at=now, attempt_revision=card.wanted_revision)
            )

    def settle(self, lease: DestinationLease, attempt_id: str | None, settlement: Settlement, now: float) -> bool:
        """Record what came of an attempt; False (and no change) when the lease was lost."""
        holds = select(destinations.c.key).where(destinations.c.key == lease.key, destinations.c.fence == lease.fence)
        if self._connection.execute(holds.with_for_update()).first() is None:
            return False
        if attempt_id is not None:
            self._connection.execute(
                update(attempts).where(attempts.c.id == attempt_id).values(finished_at=now, outcome=settlement.reason)
            )
        changed: dict[str, Any] = {
            "reason": settlement.reason,
            "due_at": settlement.due_at,
            "tries": settlement.tries,
            "is_dead": settlement.is_dead,
        }
        if settlement.shown_revision is not None:
            changed["shown_revision"] = settlement.shown_revision
        if settlement.shown_digest is not None:
            changed["shown_digest"] = settlement.shown_digest
        if settlement.shown_final is not None:
            changed["shown_final"] = settlement.shown_final
        if settlement.message_ref is not None or settlement.forget_ref:
            changed["message_ref"] = settlement.message_ref
        if not settlement.keep_attempt:
            changed["attempt_id"] = None
        if settlement.shown_revision is not None and settlement.due_at > now:
            # the pace of progress: a final state that came meanwhile does not wait for it
            changed["due_at"] = case(
                (and_(cards.c.is_final, cards.c.wanted_revision > settlement.shown_revision), 0.0),
                else_=settlement.due_at,
            )
        self._connection.execute(update(cards).where(cards.c.id == settlement.card_id).values(changed))
        return True


class SqlPacing:
    """Budgets: those of places stand on their destination, the others in their own table."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def arrival(self, scope: str) -> tuple[float, float]:
        """An account scope's arrival time and the end of its pause; 0 when unused."""
        row = self._connection.execute(
            select(budgets.c.arrival, budgets.c.paused_until).where(budgets.c.scope == scope).with_for_update()
        ).first()
        return (0.0, 0.0) if row is None else (row.arrival, row.paused_until)

    def spend(self, scope: str, arrival: float) -> None:
        """Store a scope's new arrival time."""
        statement = insert_into(self._connection, budgets)
        self._connection.execute(
            statement.on_conflict_do_update(index_elements=["scope"], set_={"arrival": statement.excluded.arrival}),
            {"scope": scope, "arrival": arrival},
        )

    def pause(self, scope: str, until: float) -> None:
        """Let nothing go in this scope before `until`."""
        statement = insert_into(self._connection, budgets)
        self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=["scope"], set_={"paused_until": statement.excluded.paused_until}
            ),
            {"scope": scope, "arrival": 0.0, "paused_until": until},
        )

    def release(self, lease: DestinationLease, *, arrival: float, free_at: float, reason: str) -> bool:
        """Give a destination back; it is free again at `free_at`. False when the lease was lost."""
        held = and_(destinations.c.key == lease.key, destinations.c.fence == lease.fence)
        changed = {"lease_until": 0.0, "arrival": arrival, "free_at": free_at, "pause_reason": reason}
        return self._connection.execute(update(destinations).where(held).values(changed)).rowcount == 1

    def postpone(self, card_id: int, due_at: float, reason: str) -> None:
        """Look at a card again at `due_at`."""
        self._connection.execute(update(cards).where(cards.c.id == card_id).values(due_at=due_at, reason=reason))
