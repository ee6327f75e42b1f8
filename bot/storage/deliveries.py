"""The work that cards ask for: leases and attempts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Double,
    Select,
    String,
    Update,
    and_,
    bindparam,
    case,
    cast,
    exists,
    func,
    literal_column,
    not_,
    or_,
    select,
    update,
)

from bot.domain.places import CARD_SLOT, OVERDUE_SLOT, Operation, kin_of
from bot.ports import CardRecord, DestinationLease, Settlement
from bot.storage.cards import CARD_COLUMNS, END_ONCE_MORE, IS_DIRTY, card_record
from bot.storage.dialects import ONE, greatest, one_of
from bot.storage.rows import NewRows, Write
from bot.storage.tables import attempts, cards, destinations
from bot.storage.unit import Unit

MAX_DETAIL = 200
_HAS_WORK = exists(
    select(cards.c.id).where(cards.c.destination == destinations.c.key, cards.c.due_at <= bindparam("now"), IS_DIRTY)
)
_FREE = (
    select(destinations.c.key, destinations.c.label, destinations.c.arrival, destinations.c.fence)
    .where(destinations.c.free_at <= bindparam("now"), destinations.c.lease_until <= bindparam("now"), _HAS_WORK)
    .order_by(destinations.c.free_at)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
# A final state that was just refused lets what stands in threads go first, or that would wait as long as it is refused.
_WAS_REFUSED = or_(cards.c.tries > 0, cards.c.reason == "paused:rate_limited")
_URGENCY = case(
    (and_(cards.c.slot == CARD_SLOT, cards.c.message_ref.is_(None)), 0),
    (and_(cards.c.slot == CARD_SLOT, cards.c.is_final.is_(True), not_(_WAS_REFUSED)), 1),
    (or_(cards.c.slot != CARD_SLOT, cards.c.is_final.is_(True)), 2),
    else_=3,
)
_DUE = (
    select(*CARD_COLUMNS)
    .where(cards.c.destination == bindparam("destination"), cards.c.due_at <= bindparam("now"), IS_DIRTY)
    .order_by(_URGENCY, cards.c.due_at, cards.c.id)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)  # whoever changes one now rings when that is done; claims wait for no card
)
_WANTED_OF_ACCOUNT = (
    select(cards.c.id)
    .where(
        cards.c.destination.in_(select(destinations.c.key).where(destinations.c.key.startswith(bindparam("account")))),
        cards.c.due_at >= 0.0,  # all are, but SQLite takes the index of what is wanted only where it is asked for
        IS_DIRTY,
    )
    .with_for_update(skip_locked=True)
)
_WAITS_FOR_NEXT_TRY = _WANTED_OF_ACCOUNT.where(
    cards.c.tries > 0, or_(cards.c.attempt_id.is_(None), cards.c.due_at > bindparam("at"))
)
_SAYS_AN_END_IS_LATE = _WANTED_OF_ACCOUNT.where(cards.c.slot.startswith(OVERDUE_SLOT), cards.c.attempt_id.is_(None))
_HURRY = (
    update(cards)
    .where(cards.c.id.in_(_WAITS_FOR_NEXT_TRY))
    .values(due_at=case((cards.c.attempt_id.is_(None), 0.0), else_=bindparam("at")))
)
_LEAVE_OUT = (
    update(cards)
    .where(cards.c.id.in_(_SAYS_AN_END_IS_LATE))
    .values(shown_revision=cards.c.wanted_revision, reason="filtered:card_follows")
)
# Whoever has given it back holds it no more: settling it once more, for want of an answer to the commit, is in vain.
IS_HELD = and_(
    destinations.c.key == bindparam("held"),
    destinations.c.fence == bindparam("held_fence"),
    destinations.c.lease_until > 0.0,
)
_HELD = select(destinations.c.key).where(IS_HELD).with_for_update()
CHANGE_CARD = update(cards).where(cards.c.id == bindparam("card"))
# The pace of progress: a final state that came meanwhile does not wait for it, and news not for longer than they may.
_HAS_NEWS = cards.c.wanted_revision > bindparam("shown")
_HAS_NEW_FINAL = and_(cards.c.is_final, _HAS_NEWS)
_END_CAME = and_(cards.c.is_final, cards.c.wanted_revision > bindparam("tried"))
_GIVE_CARD_UP = CHANGE_CARD.values(
    is_dead=not_(_END_CAME), reason=case((_END_CAME, END_ONCE_MORE), else_=bindparam("given_up"))
)
_CHANGE_PACED_CARD = CHANGE_CARD.values(
    due_at=case((_HAS_NEW_FINAL, 0.0), (_HAS_NEWS, bindparam("news_by")), else_=bindparam("paced_until"))
)


@cache
def _lease(dialect: str) -> Update:
    held = {"lease_until": bindparam("until"), "fence": destinations.c.fence + 1}
    return update(destinations).where(one_of(dialect, destinations.c.key, "keys")).values(held)


@cache
def _begin(dialect: str) -> Write:
    rows = NewRows(dialect, attempts, "id", "card_id", "revision", "operation", "started_at", "outcome")
    return Write(rows.insert(), new=rows)


@cache
def _end_attempt(*_columns: str) -> Write:
    """For each set of columns that are changed one that gathers such changes."""
    return Write(update(attempts).where(attempts.c.id == bindparam("attempt")))


@cache
def _change_card(statement: Update, *_columns: str) -> Write:
    """The same."""
    return Write(statement)


@cache
def _next_ready_at(dialect: str) -> Select[float | None]:
    """One look into the index of what is wanted for each place that has such, which tells its earliest card, too.

    Of the places that are known, each that was ever answered in, there may be many more.
    https://wiki.postgresql.org/wiki/Loose_indexscan
    """
    # Written out: a statement without parameters is planned once.
    first = cast(literal_column("''"), String).label("place"), cast(literal_column("0.0"), Double).label("due")
    wanted = select(*first).cte("wanted", recursive=True)
    other = cards.alias("other")
    earliest_after = (
        select(cards.c.id)
        .where(cards.c.destination > wanted.c.place, IS_DIRTY)
        .order_by(cards.c.destination, cards.c.due_at)
        .limit(ONE)
        .correlate(wanted)
        .scalar_subquery()
    )
    following = select(other.c.destination, other.c.due_at).join_from(wanted, other, other.c.id == earliest_after)
    wanted = wanted.union_all(following)
    ready = greatest(dialect, destinations.c.free_at, destinations.c.lease_until, wanted.c.due)
    return select(func.min(ready)).join_from(wanted, destinations, destinations.c.key == wanted.c.place)


def _is_of(kin: str) -> ColumnElement[bool]:
    """Whether a destination is of an account, or an address of a platform."""
    key = destinations.c.key
    if ":" in kin:
        return key.startswith(f"{kin}/", autoescape=True)
    return and_(key.startswith(f"{kin}:", autoescape=True), not_(key.contains("/")))


def _changes(settlement: Settlement) -> dict[str, Any]:
    """The columns of a card that a settlement changes."""
    changed: dict[str, Any] = {
        "reason": settlement.reason,
        "due_at": settlement.due_at,
        "tries": settlement.tries,
        "is_dead": settlement.is_dead,
    }
    for name in ("shown_revision", "shown_digest", "shown_final"):
        if (value := getattr(settlement, name)) is not None:
            changed[name] = value
    if settlement.message_ref is not None or settlement.forget_ref:
        changed["message_ref"] = settlement.message_ref
    if not settlement.keep_attempt:
        changed["attempt_id"] = None
    return changed


class SqlDeliveries:
    """The same table, as the worker sees it."""

    def __init__(self, connection: Unit) -> None:
        self._connection = connection

    def next_ready_at(self) -> float | None:
        """When the next destination with wanted work is free; None when nothing is wanted."""
        found: float | None = self._connection.scalar(_next_ready_at(self._connection.dialect.name))
        return found

    def lease(
        self, now: float, until: float, limit: int, take: Callable[[str], bool] | None = None
    ) -> Sequence[DestinationLease]:
        """Take destinations that are free and have due work, the longest waiting first; see the port for `take`."""
        taken: list[DestinationLease] = []
        full: set[str] = set()
        while True:
            refused: set[str] = set()
            leases = []
            statement = _FREE.where(*(not_(_is_of(kin)) for kin in sorted(full))) if full else _FREE
            for key, label, arrival, fence in self._connection.execute(
                statement, {"now": now, "most": limit - len(taken)}
            ):
                kin = kin_of(key)
                if take is None or (kin not in refused and take(kin)):
                    leases.append(DestinationLease(key, label, arrival, fence + 1))
                else:
                    refused.add(kin)
            if leases:
                keys = [lease.key for lease in leases]
                self._connection.execute(_lease(self._connection.dialect.name), {"keys": keys, "until": until})
            taken += leases
            full |= refused
            if not refused or len(taken) >= limit:
                return taken

    def due_cards(self, destination: str, now: float, limit: int) -> Sequence[CardRecord]:
        """A destination's due slots: cards before threads, new and final states before progress, oldest first."""
        # What waits to be written is about other destinations: claims and settlings look at each once.
        rows = self._connection.aside(_DUE, {"destination": destination, "now": now, "most": limit})
        return [card_record(row) for row in rows]

    def begin(self, card: CardRecord, attempt_id: str, operation: str, now: float) -> None:
        """Record that an attempt is about to be made; one that makes a new post stays open on the card until settled.

        The end is a new post, too, where nothing can be changed.
        """
        attempt = {
            "id": attempt_id,
            "card_id": card.id,
            "revision": card.wanted_revision,
            "operation": operation,
            "started_at": now,
            "outcome": "started",
        }
        self._connection.later(attempt_id, _begin(self._connection.dialect.name), attempt)
        if Operation(operation).is_new:
            opened = {"attempt_id": attempt_id, "attempt_started_at": now, "attempt_revision": card.wanted_revision}
            self._change(card.id, opened)

    def settle(self, lease: DestinationLease, attempt_id: str | None, settlement: Settlement, now: float) -> bool:
        """Record what came of an attempt; False (and no change) when the lease was lost."""
        if self._connection.aside(_HELD, {"held": lease.key, "held_fence": lease.fence}).first() is None:
            return False
        if attempt_id is not None:
            ended = {"attempt": attempt_id, "finished_at": now, "outcome": settlement.reason}
            if settlement.detail:
                ended["detail"] = settlement.detail[:MAX_DETAIL]
            self._connection.later(attempt_id, _end_attempt(*ended), ended)
        changed = _changes(settlement)
        if settlement.shown_revision is not None and settlement.due_at > now:
            paced_until = changed.pop("due_at")
            news_by = min(paced_until, settlement.news_by)
            changed |= {"shown": settlement.shown_revision, "paced_until": paced_until, "news_by": news_by}
            self._change(settlement.card_id, changed, _CHANGE_PACED_CARD)
        elif settlement.is_dead and settlement.spares_end_after is not None:
            del changed["is_dead"]
            changed |= {"given_up": changed.pop("reason"), "tried": settlement.spares_end_after}
            self._change(settlement.card_id, changed, _GIVE_CARD_UP)
        else:
            self._change(settlement.card_id, changed)
        return True

    def hurry(self, account: str, at: float, *, leaves_out: bool = True) -> None:
        """Let what failed at the places of an account not wait, and leave out that ends are late; see the port."""
        if leaves_out:
            self._connection.execute(_LEAVE_OUT, {"account": f"{account}/"})
        self._connection.execute(_HURRY, {"account": f"{account}/", "at": at})

    def _change(self, card_id: int, changed: Mapping[str, Any], statement: Update = CHANGE_CARD) -> None:
        """Change a card's columns, together with those of others."""
        write = _change_card(statement, *changed)
        self._connection.later(str(card_id), write, {"card": card_id, **changed})
