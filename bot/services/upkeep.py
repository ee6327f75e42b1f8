"""What is done by the clock."""

from __future__ import annotations

from bot.domain.places import OVERDUE_SLOT, attempts_slot
from bot.domain.subjects import SubjectKey, SubjectKind
from bot.ports import Clock, Slot, Store, Transaction
from bot.services.signal import Signal

OVERDUE_S = 30.0
SEAL_BATCH = 500
OVERDUE_BATCH = 100


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
                subject = tx.subjects.get(SubjectKey.parse(card.subject))
                if subject is None or subject.key.kind is SubjectKind.DIGEST:  # a digest has no end of its own
                    continue
                slot = Slot(card.destination, attempts_slot(OVERDUE_SLOT, subject.folded.attempt), card.options)
                tx.cards.open(card.subject, card.wanted_revision, [slot], is_final=True, at=now)

        self._store.write(work)
        self._signal.ring()
        return len(overdue)
