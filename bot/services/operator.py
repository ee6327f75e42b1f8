"""What an operator sees of deliveries in a terminal, and does to those that were given up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from bot.domain.audit import AuditEntry
from bot.domain.commands import parse_reference
from bot.domain.places import CARD_SLOT
from bot.domain.subjects import SubjectKey
from bot.errors import CommandInvalid, InputError
from bot.ports import AttemptRecord, Clock, DeliveryQuery, DeliveryRecord, Store, Transaction
from bot.services.sources import Sources

ATTEMPTS = 20
BATCH = 200  # a transaction, so that nobody waits long for it
MOST = 100_000
MAX_TARGET = 400
_DEAD = "dead:"


@dataclass(frozen=True, slots=True)
class Story:
    """One delivery with its newest attempts, oldest first."""

    delivery: DeliveryRecord
    attempts: Sequence[AttemptRecord]


class Operator:
    """Looks and acts in a database that others use at the same time.

    `addresses` are those of the configured destinations by name; `name` is the operator's, for the audit trail; `wake`
    tells the workers that there is something to do.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        sources: Sources,
        addresses: Mapping[str, str],
        *,
        name: str,
        wake: Callable[[], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._sources = sources
        self._addresses = dict(addresses)
        self._name = name
        self._wake = wake

    def deliveries(self, subject: str, destination: str, limit: int) -> Sequence[DeliveryRecord]:
        """Of a build or place, or of both, all that was ever wanted; without either, what waits now.

        InputError for a build or place that is not known.
        """
        is_narrow = bool(subject or destination)

        def work(tx: Transaction) -> Sequence[DeliveryRecord]:
            key = self._subject_key(tx, subject) if subject else None
            place = self._place(tx, destination) if destination else None
            return tx.inspection.find(DeliveryQuery(subject=key, destination=place, is_pending=not is_narrow), limit)

        return self._store.read(work)

    def dead_letters(self, reason: str, destination: str, limit: int) -> Sequence[DeliveryRecord]:
        """What was given up, newest first; InputError for a place that is not known."""
        return self._store.read(lambda tx: tx.inspection.find(self._query(tx, reason, destination), limit))

    def show(self, card_id: int) -> Story:
        """One delivery, dead or not; InputError where there is none of that number."""

        def work(tx: Transaction) -> Story:
            (delivery,) = _all_of(tx, [card_id])
            return Story(delivery, tx.inspection.attempts(card_id, ATTEMPTS))

        return self._store.read(work)

    def replay(self, card_ids: Sequence[int]) -> Sequence[DeliveryRecord]:
        """Make these dead letters wanted again; InputError, and nothing is done, when one of them is none."""
        return self._act("replay", self._checked(card_ids))

    def replay_all(self, reason: str = "", destination: str = "") -> Sequence[DeliveryRecord]:
        """Make all dead letters wanted again, or those of a reason and place; InputError for an unknown place."""
        return self._act("replay", [one.card.id for one in self.dead_letters(reason, destination, MOST)])

    def drop(self, card_ids: Sequence[int]) -> Sequence[DeliveryRecord]:
        """Take these dead letters off the list; InputError, and nothing is done, when one of them is none."""
        return self._act("drop", self._checked(card_ids))

    def _checked(self, card_ids: Sequence[int]) -> Sequence[int]:
        wanted = list(dict.fromkeys(card_ids))
        for delivery in self._store.read(lambda tx: _all_of(tx, wanted)):
            if not delivery.is_dead_letter:
                raise InputError(f"{delivery.card.id} was not given up: {delivery.card.reason or 'it waits'}")
        return wanted

    def _act(self, verb: str, card_ids: Sequence[int]) -> Sequence[DeliveryRecord]:
        done: list[DeliveryRecord] = []
        for start in range(0, len(card_ids), BATCH):
            batch = tuple(card_ids[start : start + BATCH])
            done += self._store.write(lambda tx, batch=batch: self._act_on(tx, verb, batch))  # type: ignore[misc]  # bound now
        if done:
            self._wake()
        return done

    def _act_on(self, tx: Transaction, verb: str, card_ids: tuple[int, ...]) -> list[DeliveryRecord]:
        letters = {one.card.id: one for one in tx.inspection.find(DeliveryQuery(ids=card_ids, is_dead=True), BATCH)}
        if verb == "replay":
            for letter in list(letters.values()):
                letters |= {one.card.id: one for one in _remarks_on(tx, letter)}
        change = tx.inspection.revive if verb == "replay" else tx.inspection.drop
        changed = [letters[card_id] for card_id in change(sorted(letters))]
        at = self._clock.now().timestamp()
        for letter in changed:
            card = letter.card
            target = f"{card.subject} {card.slot} → {card.destination}"[:MAX_TARGET]
            tx.audit.append(AuditEntry(at, f"cli:{self._name}", verb, target, "done", f"{card.id} {card.reason}"))
        return changed

    def _query(self, tx: Transaction, reason: str, destination: str) -> DeliveryQuery:
        query = DeliveryQuery(is_dead=True, reason=reason.removeprefix(_DEAD) or None)
        return replace(query, destination=self._place(tx, destination)) if destination else query

    def _place(self, tx: Transaction, named: str) -> str:
        """A destination's key by its name in the file, or what is its key or label."""
        if (address := self._addresses.get(named)) is not None:
            return tx.places.key_of(address) or address
        if not tx.inspection.find(DeliveryQuery(destination=named), 1):
            raise InputError(f"{named!r} is no destination: of {', '.join(self._addresses) or 'none'}")
        return named

    def _subject_key(self, tx: Transaction, named: str) -> str:
        if tx.inspection.find(DeliveryQuery(subject=named), 1):
            return named
        try:
            return str(self._sources.locate(tx, parse_reference(named)))
        except CommandInvalid as problem:
            if problem.problem == "ambiguous":
                raise InputError(f"several builds are called {named}: {problem.suggestion}") from None
            if problem.problem == "malformed_reference":
                raise InputError(f"{named!r} is no build: name one like user-service#12") from None
            raise InputError(f"no build {named} is known here") from None


def _all_of(tx: Transaction, card_ids: Sequence[int]) -> Sequence[DeliveryRecord]:
    found = tx.inspection.find(DeliveryQuery(ids=tuple(card_ids)), len(card_ids))
    unknown = set(card_ids) - {one.card.id for one in found}
    if unknown:
        raise InputError(f"there is no delivery {', '.join(str(one) for one in sorted(unknown))}")
    return found


def _remarks_on(tx: Transaction, letter: DeliveryRecord) -> Sequence[DeliveryRecord]:
    """What was given up because a card was."""
    card = letter.card
    if card.slot != CARD_SLOT:
        return ()
    fallen = DeliveryQuery(subject=card.subject, destination=card.destination, reason="no_card", is_dead=True)
    return tx.inspection.find(fallen, BATCH)


def subject_words(subject: str) -> str:
    """A subject as people write it: a build without its kind and source."""
    try:
        key = SubjectKey.parse(subject)
    except ValueError:
        return subject
    return key.short if key.kind == "build" else subject
