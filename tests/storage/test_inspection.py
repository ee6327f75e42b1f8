"""Deliveries as an operator sees them, on both engines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import Engine, text

from bot.domain.places import ADMIN_SLOT, CARD_SLOT, Place
from bot.ports import CardRecord, DeliveryQuery, DeliveryRecord, DestinationLease, Settlement, Slot, Transaction
from tests.stores import NOW, SqlStore, key_of

CI, DEV = "slack:T/ci", "slack:T/dev"
SUBJECT = str(key_of(1))
ANNOUNCED = "dead_letter:slack/T/ci#not_in_channel"


@pytest.fixture
def store(store: SqlStore) -> SqlStore:
    """A store with two places."""
    store.write(lambda tx: tx.places.ensure([Place(CI, "#ci"), Place(DEV, "#dev")]))
    return store


def _open(store: SqlStore, *numbers: int, place: str = CI) -> list[CardRecord]:
    slots = [Slot(place, CARD_SLOT, {})]

    def open_all(tx: Transaction) -> None:
        for number in numbers:
            tx.cards.open(str(key_of(number)), 3, slots, is_final=False, at=NOW)

    store.write(open_all)
    found: list[CardRecord] = []
    for number in numbers:
        found += store.read(partial(_cards, subject=str(key_of(number))))
    return [card for card in found if card.destination == place]


def _cards(tx: Transaction, subject: str) -> Sequence[CardRecord]:
    return tx.cards.of_subject(subject)


def _lease(store: SqlStore, place: str = CI) -> DestinationLease:
    leases = store.write(lambda tx: tx.deliveries.lease(NOW, NOW + 30, 5))
    return next(lease for lease in leases if lease.key == place)


def _bury(store: SqlStore, lease: DestinationLease, card: CardRecord, reason: str = "not_in_channel") -> None:
    attempt = f"a{card.id}"
    ended = Settlement(card.id, f"dead:{reason}", is_dead=True, tries=4, due_at=NOW + 60, detail="their words")
    store.write(lambda tx: tx.deliveries.begin(card, attempt, "post", NOW))
    assert store.write(lambda tx: tx.deliveries.settle(lease, attempt, ended, NOW + 1))


def _find(store: SqlStore, limit: int = 50, **query: object) -> list[DeliveryRecord]:
    return list(store.read(lambda tx: tx.inspection.find(DeliveryQuery(**query), limit)))  # type: ignore[arg-type]  # as each test needs it


def test_dead_letters_are_found_by_place_reason_and_id(store: SqlStore) -> None:
    """Each part of a query narrows it; the newest come first, and no more than are asked for."""
    first, second, third = _open(store, 1, 2, 3)
    lease = _lease(store)
    _bury(store, lease, first)
    _bury(store, lease, second, "is_archived")
    assert [one.card.id for one in _find(store, is_dead=True)] == [second.id, first.id]
    assert [one.card.id for one in _find(store, 1, is_dead=True)] == [second.id]
    assert [one.card.id for one in _find(store, is_dead=True, reason="not_in_channel")] == [first.id]
    assert _find(store, is_dead=True, destination=DEV) == []
    assert [one.card.id for one in _find(store, ids=(third.id, 999), destination=CI)] == [third.id]
    assert [one.card.id for one in _find(store, subject=SUBJECT)] == [first.id]
    assert [one.card.id for one in _find(store, is_pending=True)] == [third.id]


def test_a_delivery_tells_its_place_and_its_next_try(store: SqlStore) -> None:
    """Label, when the place is free again and why not before, and the end of the newest attempt."""
    first, second = _open(store, 1, 2)
    lease = _lease(store)
    _bury(store, lease, first)
    store.write(lambda tx: tx.pacing.postpone(second.id, NOW + 5, "waiting:details"))
    store.write(lambda tx: tx.pacing.release(lease, arrival=0.0, free_at=NOW + 40, reason="unresolved:unreachable"))
    pending, dead = _find(store)
    assert (dead.label, dead.place_free_at, dead.place_reason) == ("#ci", NOW + 40, "unresolved:unreachable")
    assert (dead.last_attempt_at, dead.opened_at, dead.next_try_at) == (NOW + 1, NOW, None)
    assert (pending.last_attempt_at, pending.next_try_at) == (None, NOW + 40)


def test_a_place_without_a_row_is_shown_by_its_key(store: SqlStore) -> None:
    """A channel that was subscribed to and never registered has cards all the same."""
    _open(store, 1, place="slack:T/new")
    assert [(one.label, one.place_free_at) for one in _find(store)] == [("slack:T/new", 0.0)]


def test_attempts_keep_the_platforms_words(store: SqlStore) -> None:
    """The newest attempts, oldest first, with their times and what the platform said."""
    (card,) = _open(store, 1)
    lease = _lease(store)

    def attempt(tx: Transaction) -> None:
        for at in range(3):
            tx.deliveries.begin(card, f"a{at}", "post", NOW + at)
            ended = Settlement(card.id, "failed:busy", detail="x" * 300 if at == 2 else "")
            tx.deliveries.settle(lease, f"a{at}", ended, NOW + at + 0.5)

    store.write(attempt)
    second, third = store.read(lambda tx: tx.inspection.attempts(card.id, 2))
    assert (second.started_at, second.finished_at, second.detail) == (NOW + 1, NOW + 1.5, "")
    assert (third.operation, third.revision, third.outcome, third.detail) == ("post", 3, "failed:busy", "x" * 200)


def test_a_replayed_delivery_is_due_at_once(store: SqlStore) -> None:
    """It is wanted again with all its tries; one that is not dead is left as it is."""
    dead, alive = _open(store, 1, 2)
    _bury(store, _lease(store), dead)
    store.write(lambda tx: tx.pacing.postpone(alive.id, NOW + 5, "waiting:details"))
    assert store.write(lambda tx: tx.inspection.revive([dead.id, alive.id, 999])) == [dead.id]
    (card,) = store.read(lambda tx: tx.cards.of_subject(SUBJECT))
    assert card == replace(dead, reason="replayed", attempt_id=None, attempt_started_at=NOW, attempt_revision=3)
    assert store.write(lambda tx: tx.inspection.revive([dead.id])) == []
    assert [one.card.reason for one in _find(store, subject=str(key_of(2)))] == ["waiting:details"]


def test_a_dropped_delivery_is_no_dead_letter_any_more(store: SqlStore) -> None:
    """It is neither listed nor replayed, and nothing is wanted there."""
    (card,) = _open(store, 1)
    _bury(store, _lease(store), card)
    assert store.write(lambda tx: tx.inspection.drop([card.id])) == [card.id]
    assert _find(store, is_dead=True) == []
    assert store.write(lambda tx: tx.inspection.revive([card.id])) == []
    assert store.read(lambda tx: tx.deliveries.next_ready_at()) is None


def test_more_letters_than_a_statement_takes_are_replayed(store: SqlStore) -> None:
    """A whole outage's dead letters come back in one transaction."""
    cards = _open(store, *range(1, 4))
    lease = _lease(store)
    for card in cards:
        _bury(store, lease, card)
    ids = [*range(-1200, 0), *(card.id for card in cards)]
    assert [one.card.id for one in _find(store, 5000, ids=tuple(ids), is_dead=True)] == [c.id for c in cards][::-1]
    assert len(store.write(lambda tx: tx.inspection.revive(ids))) == 3


def _announce(store: SqlStore, at: float, words: str, subject: str = ANNOUNCED) -> bool:
    options = {"words": words, "place": "#ci"}
    is_new: bool = store.write(lambda tx: tx.inspection.announce(subject, DEV, options, at=at, after=at - 3600))
    return is_new


def test_a_cause_is_announced_once_an_hour(store: SqlStore) -> None:
    """Within the hour nothing changes; afterwards the notice is a new post, whatever became of the old one."""
    assert _announce(store, NOW, "first")
    assert not _announce(store, NOW + 3599, "second")
    assert _announce(store, NOW + 1, "other", "dead_letter:slack/T/ci#is_archived")
    card = next(iter(store.read(lambda tx: tx.cards.of_subject(ANNOUNCED))))
    assert (card.slot, card.options, card.wanted_revision) == (ADMIN_SLOT, {"words": "first", "place": "#ci"}, 1)
    lease = _lease(store, DEV)
    shown = Settlement(card.id, "sent", 1, "digest", "m1", shown_final=True)
    store.write(lambda tx: tx.deliveries.settle(lease, None, shown, NOW + 2))
    assert _announce(store, NOW + 3600, "third")
    card = next(iter(store.read(lambda tx: tx.cards.of_subject(ANNOUNCED))))
    assert (card.options, card.wanted_revision, card.shown_revision) == ({"words": "third", "place": "#ci"}, 2, 1)
    assert (card.message_ref, card.is_dead, card.reason) == (None, False, "")


def test_dead_letters_are_found_by_their_index(database: Engine) -> None:
    """However many cards there are, only those that were given up are looked at."""
    with database.connect() as connection:
        names = text(
            "SELECT indexname FROM pg_indexes WHERE tablename = 'cards'"
            if database.dialect.name == "postgresql"
            else "SELECT name FROM sqlite_master WHERE tbl_name = 'cards'"
        )
        assert "cards_dead" in set(connection.scalars(names))
        if database.dialect.name == "sqlite":
            plan = "EXPLAIN QUERY PLAN SELECT id FROM cards WHERE cards.is_dead ORDER BY cards.id DESC LIMIT 5"
            assert "cards_dead" in str(connection.execute(text(plan)).all())
