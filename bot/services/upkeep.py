"""What is done by the clock."""

from __future__ import annotations

from itertools import count

from bot.domain.places import OVERDUE_SLOT, attempts_slot
from bot.domain.subjects import SubjectKey, SubjectKind
from bot.ports import CardRecord, Clock, Slot, Store, SubjectRecord, Transaction
from bot.services.signal import Signal
from bot.telemetry import logger

OVERDUE_S = 30.0
SEAL_BATCH = 500
OVERDUE_BATCH = 100

log = logger(__name__)


class Upkeep:
    """Seals the audit trail, and says final states in threads when their card cannot be changed in time."""

    def __init__(self, store: Store, clock: Clock, signal: Signal) -> None:
        self._store = store
        self._clock = clock
        self._signal = signal

    def seal_audit(self) -> int:
        """Chain what has been written since the last time; how many entries."""
        return self._store.write(lambda tx: tx.audit.seal(SEAL_BATCH))

    def tell_overdue(self) -> int:
        """Open a notice for each card whose final state has been due for 30 s; how many cards."""
        now = self._clock.now().timestamp()
        overdue = self._store.read(lambda tx: tx.cards.overdue_finals(now - OVERDUE_S, OVERDUE_BATCH))
        if not overdue:
            return 0

        def work(tx: Transaction) -> None:
            for card in overdue:
                subject = _subject(tx, card)
                if subject is not None:
                    slot = Slot(card.destination, _slot(tx, card, subject), card.options)
                    tx.cards.open(card.subject, card.wanted_revision, [slot], is_final=True, at=now)

        self._store.write(work)
        self._signal.ring()
        return len(overdue)


def _subject(tx: Transaction, card: CardRecord) -> SubjectRecord | None:
    """What a card shows; None where that is gone, or makes no sense: others are told of all the same."""
    try:
        return tx.subjects.get(SubjectKey.parse(card.subject))
    except (AttributeError, LookupError, TypeError, ValueError) as problem:
        log.error("subject cannot be read, its delay is not told", subject=card.subject, error=problem)
        return None


def _slot(tx: Transaction, card: CardRecord, subject: SubjectRecord) -> str:
    """A slot that is free, of the attempt's number or a later one: an attempt, or a digest, may end anew."""
    said = {one.slot for one in tx.cards.of_subject(card.subject) if one.destination == card.destination}
    numbers = count(1 if subject.key.kind is SubjectKind.DIGEST else subject.folded.attempt)
    return next(slot for number in numbers if (slot := attempts_slot(OVERDUE_SLOT, number)) not in said)
