"""Storms: what would open more cards at a destination than its routes allow is folded into one digest there.

A storm is judged card by card: as long as the threshold's number of cards came to the destination within the window,
folded ones included, the next one is folded. So at most that many cards of their own open in any window, and the storm
is over as soon as fewer come. A digest is taken on with for a window after the last card that it took, and for ten
windows at most; one that was given up takes nothing more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bot.domain.builds import Phase
from bot.domain.folding import Folded
from bot.domain.noise import MOST_REMEMBERED, Storm, Threshold
from bot.domain.places import CARD_SLOT
from bot.domain.subjects import SubjectKey, SubjectKind
from bot.ports import Slot, SubjectRecord, Transaction
from bot.services.router import join_options

SOURCE = "storm"
LARGEST_DIGEST = 500
LONGEST_WINDOWS = 10.0


def fold_away(tx: Transaction, slots: Sequence[Slot], at: float) -> list[Slot]:
    """The same slots to open, in which the cards that are too much for their destinations are folded into digests."""
    decided = []
    for slot in sorted(slots, key=lambda slot: slot.destination):  # locked in one order, whoever else does it
        if slot.slot == CARD_SLOT and "group" in slot.options:
            decided.append(replace(slot, folded_into=_place(tx, slot, at)))
        else:
            decided.append(slot)
    return decided


def _place(tx: Transaction, slot: Slot, at: float) -> str | None:
    """The digest that takes a new card, or None where it stands alone; either way it is remembered."""
    threshold = Threshold(*slot.options["group"])
    storm = tx.noise.storm(slot.destination, for_change=True)
    recent = (*storm.recent, at)[-MOST_REMEMBERED:]
    if storm.is_over(threshold, at):
        tx.noise.put_storm(slot.destination, replace(storm, recent=recent))
        return None
    if not storm.digest or at >= storm.quiet_at or storm.size >= LARGEST_DIGEST or _is_dead(tx, storm.digest, slot):
        storm = Storm(digest=_open_digest(tx, slot, at), begun_at=at)
    else:
        _join_wishes(tx, storm.digest, slot)
    quiet_at = min(at + threshold.per_s, storm.begun_at + LONGEST_WINDOWS * threshold.per_s)
    storm = replace(storm, recent=recent, size=storm.size + 1, quiet_at=quiet_at)
    tx.noise.put_storm(slot.destination, storm)
    return storm.digest


def _is_dead(tx: Transaction, digest: str, slot: Slot) -> bool:
    """Whether a digest was given up where the slot is: what it took would be seen by nobody."""
    return any(card.is_dead for card in tx.cards.of_subject(digest) if card.destination == slot.destination)


def _open_digest(tx: Transaction, slot: Slot, at: float) -> str:
    key = SubjectKey(SubjectKind.DIGEST, SOURCE, slot.destination, str(int(at * 1000)))
    if tx.subjects.get(key) is None:
        tx.subjects.put(SubjectRecord(key, Folded(0, 1, Phase.RUNNING, at), 1), at)
    wishes = {**slot.options, "mention": [], "log": False}
    tx.cards.open(str(key), 1, [Slot(slot.destination, CARD_SLOT, wishes)], is_final=False, at=at)
    return str(key)


def _join_wishes(tx: Transaction, digest: str, slot: Slot) -> None:
    """A digest is held back only as far as all routes ask whose builds it holds."""
    for card in tx.cards.of_subject(digest):
        if card.destination == slot.destination:
            joined = join_options(card.options, {**slot.options, "mention": [], "log": False})
            if joined != card.options:
                tx.cards.change(digest, slot.destination, joined)
