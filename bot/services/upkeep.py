"""What is done by the clock."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from bot.domain.places import OVERDUE_SLOT, attempts_slot
from bot.domain.subjects import SubjectKey, SubjectKind
from bot.ports import CardRecord, Clock, Slot, Store, SubjectRecord, Transaction
from bot.services.signal import Signal
from bot.telemetry import logger

OVERDUE_S = 30.0
SEAL_BATCH = 500
OVERDUE_BATCH = 100
BEFORE_ALL = (0.0, 0)
MOST_BATCHES = 10  # of which most could not be read

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
        """Open a notice for each card whose final state has been due for 30 s; how many.

        Those that cannot be read are passed over, with those behind them in view.
        """
        now, told, after = self._clock.now().timestamp(), 0, BEFORE_ALL
        for _ in range(MOST_BATCHES):
            overdue, said = self._tell_some(after, now)
            told += said
            if len(overdue) < OVERDUE_BATCH or told >= OVERDUE_BATCH:
                break
            after = overdue[-1].final_since, overdue[-1].id
        if told:
            self._signal.ring()
        return told

    def _tell_some(self, after: tuple[float, int], now: float) -> tuple[Sequence[CardRecord], int]:
        """The next that are overdue, and of how many of them that is told now."""
        overdue = self._store.read(lambda tx: tx.cards.overdue_finals(now - OVERDUE_S, OVERDUE_BATCH, after))
        return overdue, self._store.write(lambda tx: _tell(tx, overdue, now)) if overdue else 0


def _tell(tx: Transaction, overdue: Sequence[CardRecord], now: float) -> int:
    told = 0
    for card in overdue:
        subject = _subject(tx, card) if card.is_readable else None
        if subject is not None:
            slot = Slot(card.destination, _slot(tx, card, subject), card.options)
            tx.cards.open(card.subject, card.wanted_revision, [slot], is_final=True, at=now)
            told += 1
    return told


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
