"""Deliveries as an operator sees them: looked for, tried again, dropped, and told of when they are given up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Select, and_, bindparam, func, or_, select, text, update

from bot.domain.places import ADMIN_SLOT
from bot.ports import AttemptRecord, DeliveryQuery, DeliveryRecord
from bot.storage.cards import CARD_COLUMNS, DROPPED, card_record
from bot.storage.dialects import Insert, insert_into
from bot.storage.tables import attempts, cards, destinations
from bot.storage.unit import Unit

AT_ONCE = 500  # a statement takes only so many values
DEAD_REASON = "dead:"
MOST_OTHERS = 100  # that a notice names
_IS_DEAD = and_(text("cards.is_dead"), cards.c.reason.startswith(DEAD_REASON))
_IS_PENDING = text("cards.wanted_revision > cards.shown_revision AND NOT cards.is_dead")
_LAST_ATTEMPT = (
    select(func.max(attempts.c.finished_at)).where(attempts.c.card_id == cards.c.id).correlate(cards).scalar_subquery()
)
_FOUND = (
    select(
        *CARD_COLUMNS,
        func.coalesce(destinations.c.label, cards.c.destination),
        cards.c.opened_at,
        func.coalesce(destinations.c.free_at, 0.0),
        func.coalesce(destinations.c.pause_reason, ""),
        _LAST_ATTEMPT,
    )
    .select_from(cards)
    .outerjoin(destinations, destinations.c.key == cards.c.destination)
)
_ATTEMPTS = (
    select(
        attempts.c.revision,
        attempts.c.operation,
        attempts.c.started_at,
        attempts.c.finished_at,
        attempts.c.outcome,
        func.coalesce(attempts.c.detail, ""),
    )
    .where(attempts.c.card_id == bindparam("card"))
    .order_by(attempts.c.started_at.desc(), attempts.c.id.desc())
    .limit(bindparam("most"))
)
_DEAD_ONES = update(cards).where(cards.c.id.in_(bindparam("ids", expanding=True)), _IS_DEAD).returning(cards.c.id)
_REVIVE = _DEAD_ONES.values(is_dead=False, tries=0, due_at=0.0, reason="replayed")
_DROP = _DEAD_ONES.values(reason=DROPPED)


_IS_NOTICE = and_(
    cards.c.subject_key == bindparam("subject"),
    cards.c.destination == bindparam("place"),
    cards.c.slot == ADMIN_SLOT,
)
_STANDING = select(cards.c.id, cards.c.options).where(_IS_NOTICE).with_for_update()
_IS_OVER = cards.c.final_since == 0.0  # what a notice tells of
_END = update(cards).where(_IS_NOTICE).values(final_since=0.0)
_ADD_PLACE = update(cards).where(cards.c.id == bindparam("notice")).values(wanted_revision=cards.c.wanted_revision + 1)


@cache
def _announce(dialect: str) -> Insert:
    """A notice for a cause; one that stands is made new, as a post of its own, when it is old enough."""
    statement = insert_into(dialect, cards)
    renewed = {
        "options": statement.excluded.options,
        "opened_at": statement.excluded.opened_at,
        "final_since": statement.excluded.final_since,
        "wanted_revision": cards.c.wanted_revision + 1,
        "message_ref": None,
        "attempt_id": None,
        "is_dead": False,
        "due_at": 0.0,
        "tries": 0,
        "reason": "",
    }
    return statement.on_conflict_do_update(
        index_elements=["subject_key", "destination", "slot"],
        set_=renewed,
        where=or_(cards.c.opened_at <= bindparam("after"), and_(_IS_OVER, cards.c.opened_at <= bindparam("after_end"))),
    ).execution_options(preserve_rowcount=True)


class SqlInspection:
    """The cards table beside their places and attempts."""

    def __init__(self, connection: Unit) -> None:
        self._connection = connection

    def find(self, query: DeliveryQuery, limit: int) -> Sequence[DeliveryRecord]:
        """The deliveries that a query means, newest first; those that are pending, next due first."""
        if query.ids is None:
            return self._find(_conditioned(query), limit)
        found: list[DeliveryRecord] = []
        for start in range(0, len(query.ids), AT_ONCE):
            ids = query.ids[start : start + AT_ONCE]
            found += self._find(_conditioned(query).where(cards.c.id.in_(ids)), limit - len(found))
        return found

    def attempts(self, card_id: int, limit: int) -> Sequence[AttemptRecord]:
        """The newest attempts of a delivery, oldest first."""
        rows = self._connection.execute(_ATTEMPTS, {"card": card_id, "most": limit})
        return [AttemptRecord(*row) for row in rows][::-1]

    def revive(self, card_ids: Sequence[int]) -> Sequence[int]:
        """Make dead deliveries wanted again, due at once; returns those that were dead."""
        return self._change(_REVIVE, card_ids)

    def drop(self, card_ids: Sequence[int]) -> Sequence[int]:
        """Take deliveries off the list of dead letters for good; returns those that were dead."""
        return self._change(_DROP, card_ids)

    def announce(
        self,
        subject: str,
        destination: str,
        options: Mapping[str, Any],
        *,
        at: float,
        after: float,
        after_end: float = float("-inf"),
    ) -> bool:
        """Want a notice to the admin as a post of its own; False when one was wanted for this subject since `after`.

        Where what that one tells of is over it counts since `after_end` only. Otherwise it is changed to name the new
        `place` as well, among those in `others`.
        """
        row = {
            "subject_key": subject,
            "destination": destination,
            "slot": ADMIN_SLOT,
            "wanted_revision": 1,
            "is_final": True,
            "final_since": at,
            "options": dict(options),
            "opened_at": at,
        }
        statement = _announce(self._connection.dialect.name)
        if self._connection.execute(statement, {**row, "after": after, "after_end": after_end}).rowcount == 1:
            return True
        standing = self._connection.execute(_STANDING, {"subject": subject, "place": destination}).one()
        said = standing.options if isinstance(standing.options, dict) else dict(options)
        others = list(said.get("others", []))
        if len(others) < MOST_OTHERS and options["place"] not in (said["place"], *others):
            added = {"options": {**said, "others": [*others, options["place"]]}}
            self._connection.execute(_ADD_PLACE, {"notice": standing.id, **added})
        return False

    def end(self, subject: str, destination: str) -> None:
        """Note that what a notice tells of is over."""
        self._connection.aside(_END, {"subject": subject, "place": destination})

    def _find(self, wanted: Select[Any], limit: int) -> list[DeliveryRecord]:
        known = len(CARD_COLUMNS)
        rows = self._connection.execute(wanted.limit(limit))
        return [DeliveryRecord(card_record(row[:known]), *row[known:]) for row in rows]

    def _change(self, statement: Any, card_ids: Sequence[int]) -> list[int]:  # noqa: ANN401 - an UPDATE with RETURNING
        changed: list[int] = []
        for start in range(0, len(card_ids), AT_ONCE):
            rows = self._connection.execute(statement, {"ids": list(card_ids[start : start + AT_ONCE])})
            changed += [card_id for (card_id,) in rows]
        return changed


def _conditioned(query: DeliveryQuery) -> Select[Any]:
    wanted = _FOUND.order_by(cards.c.due_at, cards.c.id) if query.is_pending else _FOUND.order_by(cards.c.id.desc())
    if query.subject is not None:
        wanted = wanted.where(cards.c.subject_key == query.subject)
    if query.destination is not None:
        named = query.destination
        wanted = wanted.where(or_(cards.c.destination == named, destinations.c.label == named))
    if query.reason is not None:
        wanted = wanted.where(cards.c.reason == f"{DEAD_REASON}{query.reason}")
    if query.is_dead:
        wanted = wanted.where(_IS_DEAD)
    if query.is_pending:
        wanted = wanted.where(_IS_PENDING)
    return wanted
