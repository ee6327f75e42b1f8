"""What stands, or should stand, where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Select,
    and_,
    bindparam,
    case,
    delete,
    exists,
    literal_column,
    not_,
    or_,
    select,
    text,
    update,
)

from bot.domain.places import CARD_SLOT, ONCE_MORE, OVERDUE_SLOT
from bot.domain.retries import OF_CONTENT
from bot.ports import UNREADABLE, CardRecord, Slot
from bot.storage.dialects import one_of
from bot.storage.rows import NewRows, Row, Write
from bot.storage.tables import cards
from bot.storage.unit import Unit

# Written out: were it a parameter, SQLite would prepare each statement anew at every run, as it asks itself whether the
# value is the one that a partial index is about.
IS_CARD_SLOT = cards.c.slot == literal_column(f"'{CARD_SLOT}'")
IS_DIRTY = text("cards.wanted_revision > cards.shown_revision AND NOT cards.is_dead")
CARD_COLUMNS = tuple(
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
        "folded_into",
    )
)


_OPENED = (
    "subject_key",
    "destination",
    "slot",
    "wanted_revision",
    "shown_revision",
    "folded_into",
    "reason",
    "is_final",
    "final_since",
    "options",
    "opened_at",
)


@cache
def _open(dialect: str) -> Write:
    rows = NewRows(dialect, cards, *_OPENED)
    new = rows.insert().on_conflict_do_nothing(index_elements=["subject_key", "destination", "slot"])
    return Write(new, new=rows)


_DIED_OF_CONTENT = cards.c.reason.in_([literal_column(f"'dead:{reason}'") for reason in sorted(OF_CONTENT)])
END_ONCE_MORE = "end_once_more"
DROPPED = "dropped"


def lives_again(differs: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether a card that was given up is tried once more for the end that comes now; `differs`: it is another end.

    Where it stood already each revision of the end is tried; of one that an operator dropped, only an end that was not.
    Where it was never shown only what was refused for its content is, and only for such an end: a place that is gone,
    or takes nothing, takes no end either.
    """
    is_new_end = or_(not_(cards.c.is_final), differs)
    stood = and_(cards.c.message_ref.is_not(None), or_(cards.c.reason != DROPPED, is_new_end))
    return and_(cards.c.is_dead, or_(stood, and_(_DIED_OF_CONTENT, is_new_end)))


_IS_CARD = and_(cards.c.subject_key == bindparam("subject"), IS_CARD_SLOT)
_IS_FINAL = bindparam("final", type_=Boolean)
_REOPENS = bindparam("reopens", type_=Boolean)
_DIFFERS = bindparam("differs", type_=Boolean)
_LIVES_AGAIN = and_(_IS_FINAL, lives_again(_DIFFERS))
_IS_WAITING = and_(cards.c.final_since > 0, cards.c.wanted_revision > cards.c.shown_revision, not_(_REOPENS))
_WANTED = {
    "wanted_revision": bindparam("wanted"),
    # What is folded into a digest is shown there: nothing is wanted of its own card.
    "shown_revision": case((cards.c.folded_into.is_not(None), bindparam("wanted")), else_=cards.c.shown_revision),
    "is_final": _IS_FINAL,
    # A final state that was shown belonged to an earlier attempt, or is not the one that is to be shown.
    "shown_final": and_(cards.c.shown_final, not_(_DIFFERS)),
    # What was refused for good costs the changes after it, not the end.
    "is_dead": and_(cards.c.is_dead, not_(_LIVES_AGAIN)),
    "reason": case((_LIVES_AGAIN, END_ONCE_MORE), else_=cards.c.reason),
    # The end does not wait for the pace of progress, only for a failed attempt's pause.
    "due_at": case((and_(_IS_FINAL, cards.c.tries == 0), 0.0), else_=cards.c.due_at),
    "final_since": case((not_(_IS_FINAL), 0.0), (_IS_WAITING, cards.c.final_since), else_=bindparam("at")),
}


def _want_both(older: Row, newer: Row) -> Row:
    return {**newer, **{name: older[name] or newer[name] for name in ("reopens", "differs")}}


_STANDING = (cards.c.destination, cards.c.options, cards.c.folded_into)
_WANT_NOW = update(cards).where(_IS_CARD).values(_WANTED)
_WANT_AND_TELL = _WANT_NOW.returning(*_STANDING)
_WANT = Write(_WANT_NOW, ("subject",), _want_both)
_CHANGE_OPTIONS = Write(
    update(cards)
    .where(_IS_CARD, cards.c.destination == bindparam("place"))
    # What held it back may be gone with the old options, but for a failed attempt's pause.
    .values(options=bindparam("wished"), due_at=case((cards.c.tries == 0, 0.0), else_=cards.c.due_at)),
    ("subject", "place"),
)
_REMARK = cards.alias()
_WAS_SAID = exists(
    select(_REMARK.c.id).where(
        _REMARK.c.subject_key == cards.c.subject_key,
        _REMARK.c.destination == cards.c.destination,
        _REMARK.c.slot.startswith(OVERDUE_SLOT),
        _REMARK.c.opened_at >= cards.c.final_since,
    )
)
_IS_LATER = cards.c.id > bindparam("last")
_OVERDUE = (
    select(*CARD_COLUMNS)
    .where(
        IS_DIRTY,
        IS_CARD_SLOT,
        cards.c.is_final,
        not_(cards.c.shown_final),  # else the end stands there, and only something about it is not shown yet
        cards.c.final_since < bindparam("before"),
        or_(cards.c.final_since > bindparam("since"), and_(cards.c.final_since == bindparam("since"), _IS_LATER)),
        cards.c.message_ref.is_not(None),
        not_(cards.c.shown_digest.startswith(ONCE_MORE)),
        not_(_WAS_SAID),
    )
    .order_by(cards.c.final_since, cards.c.id)
    .limit(bindparam("most"))
)


@cache
def _standing(dialect: str) -> Select[Any]:
    is_meant = and_(one_of(dialect, cards.c.subject_key, "subjects"), IS_CARD_SLOT)
    return select(cards.c.subject_key, *_STANDING).where(is_meant).order_by(cards.c.id)


_OF_SUBJECT = select(*CARD_COLUMNS).where(cards.c.subject_key == bindparam("subject")).order_by(cards.c.id)


class SqlCards:
    """The cards table, as ingest and commands see it."""

    def __init__(self, connection: Unit) -> None:
        self._connection = connection
        self._expected: dict[str, dict[str, Slot]] = {}  # by subject and destination

    def expect(self, subjects: Sequence[str], known: Sequence[str]) -> None:
        """Look for the cards of all at once, until `rest`; only those that are `known` can have some."""
        self._expected = {subject: {} for subject in subjects}
        if known:
            asked = {"subjects": list(known)}
            for subject, *row in self._connection.execute(_standing(self._connection.dialect.name), asked):
                slot = _slot(*row)
                self._expected[subject][slot.destination] = slot

    def rest(self) -> None:
        """Ask the database again from now on."""
        self._expected.clear()

    def open(self, subject: str, revision: int, slots: Sequence[Slot], *, is_final: bool, at: float) -> None:
        """Open slots that are not open yet."""
        for slot in slots:
            row = {
                "subject_key": subject,
                "destination": slot.destination,
                "slot": slot.slot,
                "wanted_revision": revision,
                "shown_revision": revision if slot.folded_into else 0,
                "folded_into": slot.folded_into,
                "reason": "folded:digest" if slot.folded_into else "",
                "is_final": is_final,
                "final_since": at if is_final else 0.0,
                "options": dict(slot.options),
                "opened_at": at,
            }
            self._connection.later(subject, _open(self._connection.dialect.name), row)
            if slot.slot == CARD_SLOT and subject in self._expected:
                self._expected[subject].setdefault(slot.destination, slot)

    def want(
        self, subject: str, revision: int, *, is_final: bool, at: float, is_other_end: bool = False
    ) -> Sequence[Slot]:
        """Ask for the newest state at every open card of the subject; returns them."""
        wanted = {
            "subject": subject,
            "wanted": revision,
            "final": is_final,
            "at": at,
            "reopens": not is_final,
            "differs": is_other_end or not is_final,
        }
        if subject not in self._expected:
            return [_slot(*row) for row in self._connection.execute(_WANT_AND_TELL, wanted)]
        standing = list(self._expected[subject].values())
        if standing:
            self._connection.later(subject, _WANT, wanted)
        return standing

    def change(self, subject: str, destination: str, options: Mapping[str, Any]) -> None:
        """Give a subject's card at a destination other options."""
        wished = {"subject": subject, "place": destination, "wished": dict(options)}
        self._connection.later(subject, _CHANGE_OPTIONS, wished)
        standing = self._expected.get(subject, {})
        if destination in standing:
            standing[destination] = replace(standing[destination], options=options)

    def of_subject(self, subject: str) -> Sequence[CardRecord]:
        """All slots of a subject."""
        return [card_record(row) for row in self._connection.execute(_OF_SUBJECT, {"subject": subject})]

    def forget(self, subject: str) -> None:
        """Drop all slots of a subject: its number now names another run."""
        self._connection.execute(delete(cards).where(cards.c.subject_key == subject))
        if subject in self._expected:
            self._expected[subject] = {}

    def overdue_finals(self, before: float, limit: int, after: tuple[float, int] = (0.0, 0)) -> Sequence[CardRecord]:
        """Shown cards whose final state is wanted since before `before`, neither shown nor said; the oldest first."""
        since, last = after
        rows = self._connection.execute(_OVERDUE, {"before": before, "most": limit, "since": since, "last": last})
        return [card_record(row) for row in rows]


def card_record(row: Sequence[Any]) -> CardRecord:
    """A card as it was stored, of a row of CARD_COLUMNS; whether its options make sense, it says itself."""
    record = CardRecord(*row)
    return record if isinstance(record.options, dict) else replace(record, options=UNREADABLE)


def _slot(destination: str, options: Any, folded_into: str | None) -> Slot:  # noqa: ANN401 - any JSON
    return Slot(destination, CARD_SLOT, options if isinstance(options, dict) else UNREADABLE, folded_into)
