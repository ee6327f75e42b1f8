"""Event in, dirty slots out: one transaction, after which the source is answered."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum

from bot.domain.builds import Build, BuildStatus
from bot.domain.events import Event
from bot.domain.folding import fold
from bot.domain.places import CARD_SLOT
from bot.ports import Arrival, Clock, Slot, Store, SubjectRecord, Transaction, Writing
from bot.services.noise import ENDS_WITHIN_S
from bot.services.router import Router, join_options, slots_of, thread_slots
from bot.services.signal import Signal
from bot.services.storms import fold_away
from bot.services.writings import Followed
from bot.telemetry import EVENTS

FIRST_POLL_S = 3.0


class Outcome(StrEnum):
    """What became of an event."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    UNCHANGED = "unchanged"


class Ingest:
    """Takes events. `readable` names the sources that can be asked for more than their webhooks say.

    `tell` is given each new state of a build, within its transaction.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        router: Router,
        signal: Signal,
        readable: frozenset[str],
        *,
        tell: Callable[[Transaction, SubjectRecord], None] | None = None,
    ) -> None:
        self._tell = tell
        self._store = store
        self._clock = clock
        self._router = router
        self._signal = signal
        self._readable = readable

    def accept(self, events: Sequence[Event]) -> list[Outcome]:
        """Store the events and all that follows from them; StorageUnavailable when nothing could be stored."""
        return self.submit(events).result() if events else []

    def submit(self, events: Sequence[Event]) -> Writing[list[Outcome]]:
        """The same, without waiting for it; whoever asks for the result wakes those who show the events."""
        at = self._clock.now().timestamp()
        writing = self._store.submit(
            lambda tx: [self.accept_in(tx, event, at) for event in events], Arrival(events, at)
        )
        return Followed(writing, lambda outcomes: self._accepted(events, outcomes))

    def _accepted(self, events: Sequence[Event], outcomes: Sequence[Outcome]) -> None:
        for event, outcome in zip(events, outcomes, strict=True):
            EVENTS.labels(event.source, outcome.value).inc()
        if Outcome.ACCEPTED in outcomes:
            self._signal.ring()

    def accept_in(self, tx: Transaction, event: Event, at: float) -> Outcome:
        """The same within a transaction of the caller's."""
        if not tx.events.add(event, at):
            return Outcome.DUPLICATE
        before = tx.subjects.get(event.subject)
        folded = fold(before.folded if before else None, event)
        if before is not None and folded is before.folded:
            return Outcome.UNCHANGED
        after = SubjectRecord(event.subject, folded, (before.revision if before else 0) + 1)
        earlier, later = tx.subjects.neighbours(after) if folded.is_finished else (None, None)
        after = replace(after, is_fixed=_has_fixed(after, earlier))
        if before is not None and folded.generation > before.folded.generation:
            digests = {card.folded_into for card in tx.cards.of_subject(str(event.subject)) if card.folded_into}
            tx.cards.forget(str(event.subject))
            _touch(tx, digests, at, by=at + ENDS_WITHIN_S)
        self._store_state(tx, after, at, is_other_end=_is_other_end(before, after))
        if later is not None and later.is_fixed != (is_fixed := _has_fixed(later, after)):
            # A run that ended late has fixed, or broken, the one after it.
            self._store_state(tx, replace(later, is_fixed=is_fixed, revision=later.revision + 1), at)
        return Outcome.ACCEPTED

    def _store_state(self, tx: Transaction, record: SubjectRecord, at: float, *, is_other_end: bool = False) -> None:
        tx.subjects.put(record, at)
        if self._tell is not None:
            self._tell(tx, record)
        build = record.build()
        subject = str(record.key)
        openings = self._router.openings(tx, build)
        slots = slots_of(openings, build)
        standing: Sequence[Slot] = ()
        if record.revision > 1:
            standing = tx.cards.want(
                subject, record.revision, is_final=build.is_finished, at=at, is_other_end=is_other_end
            )
        if standing:
            slots = _join(tx, subject, standing, slots, build)
        slots = fold_away(tx, slots, at)
        tx.cards.open(subject, record.revision, slots, is_final=build.is_finished, at=at)
        digests = {slot.folded_into for slot in (*standing, *slots) if slot.folded_into}
        by = at + ENDS_WITHIN_S if build.is_finished else math.inf
        _touch(tx, digests, at, by=by, is_other_end=is_other_end)
        is_shown = bool(standing or slots)
        will_be_shown = not build.is_finished and any(opening.is_waiting for opening in openings)
        if (is_shown or will_be_shown) and record.key.source in self._readable:
            _plan_reading(tx, record, build, at)


def _touch(tx: Transaction, digests: set[str], at: float, *, by: float, is_other_end: bool = False) -> None:
    for digest in sorted(digests):  # in one order, whoever else does it at the same time
        tx.noise.touch(digest, at, by=by, is_other_end=is_other_end)


def _is_other_end(before: SubjectRecord | None, after: SubjectRecord) -> bool:
    """Whether what was said to have ended has ended otherwise, or once more, without a word in between."""
    if before is None or not (before.folded.is_finished and after.folded.is_finished):
        return False
    return (before.folded.attempt, before.folded.status) != (after.folded.attempt, after.folded.status)


def _join(tx: Transaction, subject: str, standing: Sequence[Slot], asked: Sequence[Slot], build: Build) -> list[Slot]:
    """What is to be opened beside the cards that stand; a route that matches only now adds its wishes to them."""
    options = {card.destination: card.options for card in standing}
    slots = []
    for slot in asked:
        if slot.destination not in options:
            slots.append(slot)
        elif slot.slot == CARD_SLOT:
            joined = join_options(options[slot.destination], slot.options)
            if joined != options[slot.destination]:
                tx.cards.change(subject, slot.destination, joined)
                options[slot.destination] = joined
    if build.is_finished:
        for destination, wishes in options.items():
            slots += thread_slots(destination, wishes, build)
    return slots


def _has_fixed(record: SubjectRecord, earlier: SubjectRecord | None) -> bool:
    """Whether a finished run is the good one after a bad one, its nearest `earlier` one."""
    is_bad = earlier is not None and earlier.folded.status == BuildStatus.FAILED
    return is_bad and record.folded.status == BuildStatus.SUCCESS


def _plan_reading(tx: Transaction, record: SubjectRecord, build: Build, at: float) -> None:
    """What the webhook lacks is asked for by jobs: once after the end, and again and again while it runs."""
    subject = str(record.key)
    epoch = f"{record.folded.generation}.{record.folded.attempt}"
    if build.is_finished:
        tx.jobs.add(f"enrich:{subject}:{epoch}", "enrich", subject, {}, due_at=at, at=at)
    else:
        tx.jobs.add(f"poll:{subject}:{epoch}", "poll", subject, {}, due_at=at + FIRST_POLL_S, at=at)
