"""The path out: claim a destination with due work, render, attempt, and settle, put off or give up.

The loop is level-triggered. A row says which revision of a subject is wanted in a slot and which one is shown; only the
newest is ever sent. What a crash leaves open is seen at the next claim: a post whose attempt was never settled is in
doubt, and the platform is asked whether it exists before anything is sent again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType

from bot.domain.places import ONCE_MORE, Operation, Place, Rendered, kin_of
from bot.errors import IntegrationError, StorageUnavailable, Unavailable
from bot.ports import CardRecord, Clock, Ids, Messenger, Settlement, Store, Transaction
from bot.services import budgeting, doubts
from bot.services.contents import Contents, spent_scope
from bot.services.dead_letters import ARRIVED, DeadLetter, DeadLetters, record
from bot.services.hands import Shares
from bot.services.looks import looks_of, why_unchanged
from bot.services.noise import ENDS_WITHIN_S
from bot.services.outcomes import (
    DOUBT_PAUSE_S,
    LATE_START,
    SLOW_SEARCH,
    Outcome,
    after_failure,
    asking,
    found,
    give_up_slowly,
    may_ask,
    not_found,
    spare_the_end,
)
from bot.services.planning import CALL_S, LEASE_S, Delivery, Planner, Resolution
from bot.services.resolving import Resolver
from bot.services.settling import Settling, held_for
from bot.services.silence import Heard, Silence
from bot.telemetry import ATTEMPTS, logger

NOT_MOVED: Mapping[str, Place] = MappingProxyType({})
_PLACE_GONE = frozenset({"channel_not_found", "is_archived"})

log = logger(__name__)


class Deliverer:
    """Shows what the cards want, at the places of all platforms.

    `progress_interval_s` is the least time between two revisions of a card that is not final, where its route and
    destination name none.
    """

    lease_s = LEASE_S

    def __init__(
        self,
        store: Store,
        clock: Clock,
        ids: Ids,
        messengers: Mapping[str, Messenger],
        addresses: frozenset[str],
        progress_interval_s: float = 2.0,
        *,
        dead_letters: DeadLetters | None = None,
        contents: Contents | None = None,
    ) -> None:
        self._contents = contents or Contents()
        self._settling = Settling.of(store)
        self._store = store
        self._clock = clock
        self._dead_letters = dead_letters or DeadLetters()
        self._silence = Silence()
        self._planner = Planner(ids, messengers, addresses, self._dead_letters, self._silence)
        self._resolver = Resolver(store, self._now, messengers, addresses, self._dead_letters)
        self._messengers = messengers
        self._progress_interval_s = progress_interval_s

    def claim(self, limit: int, shares: Shares | None = None) -> list[Delivery | Resolution]:
        """Take up to `limit` destinations with due work; each comes back with one attempt to make."""
        held_until, now = held_for(LEASE_S), self._now()
        claimed, letters = self._store.write(lambda tx: self._planner.claim(tx, now, limit, shares), is_patient=False)
        record(letters)
        budgeting.count([call for work in claimed if isinstance(work, Delivery) for call in work.calls])
        return [replace(work, lease=replace(work.lease, held_until=held_until)) for work in claimed]

    def kin_of(self, work: Delivery | Resolution) -> str:
        """The account of its place: it hangs as a whole, or a channel of it does."""
        return kin_of(work.lease.key)

    def carry_out(self, work: Delivery | Resolution) -> None:
        """Make the attempt and record what came of it."""
        if isinstance(work, Resolution):
            self._resolver.resolve(work)
            return
        outcome = self._attempt(work)
        heard = self._listen(work, outcome)
        outcome = self._asks_again(work, outcome)
        settlement = outcome.settlement
        if settlement.is_dead and settlement.reason.partition(":")[2] in _PLACE_GONE:
            try:
                if moved := self._resolver.find_anew(work):
                    self._settle(work, Outcome(Settlement(work.card.id, "moved")), moved)
                    return
            except IntegrationError as problem:
                outcome = after_failure(work, problem, work.operation, self._now())
        self._settle(work, outcome)
        if heard is not Heard.NOTHING_NEW:
            account, at, is_end = work.place.whole_account, self._now() + DOUBT_PAUSE_S, heard is Heard.SILENCE_ENDED
            self._settling.settle(work.lease, lambda tx: tx.deliveries.hurry(account, at, leaves_out=is_end))

    def put_off(self, work: Delivery | Resolution) -> None:
        """Let a destination rest after a mistake of ours; the card's try counts, and three of them end it."""
        if isinstance(work, Resolution):
            self._resolver.rest(work)
            return
        now, lease, pace = self._now(), work.lease, work.capabilities.place_budget
        outcome = self._after_mistake(work.card, "unexpected")
        arrival = pace.after(lease.arrival, now)
        free_at = max(pace.ready_at(arrival), now + outcome.rest_s)

        def settle(tx: Transaction) -> DeadLetter | None:
            is_held, letter = self._dead_letters.settle(
                tx, lease, work.attempt_id, work.card, outcome.settlement, now=now
            )
            if is_held:
                tx.pacing.release(lease, arrival=arrival, free_at=free_at, reason="")
            return letter

        if letter := self._settling.settle(lease, settle):
            record([letter])

    # --- attempting

    def _attempt(self, delivery: Delivery) -> Outcome:
        """What came of it."""
        windows = delivery.capabilities.account_budgets.get(Operation.FIND, ())
        further = budgeting.FurtherCalls(self._store, delivery.place, windows, self._now)
        outcome = self._try(delivery, further)
        return replace(outcome, further=tuple(further.held))

    def _try(self, delivery: Delivery, further: budgeting.FurtherCalls) -> Outcome:
        card, messenger = delivery.card, self._messengers[delivery.place.platform]
        operation = delivery.operation
        try:
            rendered, looks = self._settling.insist(delivery.lease, lambda: self._render(delivery, messenger))
            reason = None if card.message_ref is None else why_unchanged(looks, card.shown_digest)
            if reason is not None:
                revision = delivery.subject.revision
                unchanged = Settlement(card.id, reason, shown_revision=revision, shown_final=delivery.is_final)
                return Outcome(unchanged, was_called=False)
            self._must_be_in_time(delivery, LATE_START)
            if delivery.asks_first:
                operation = Operation.FIND
                ref = self._find(messenger, delivery, further)
                if ref is not None:
                    return found(delivery, ref)
                if delivery.only_looks:
                    return not_found(delivery, self._now())
                operation = delivery.operation
            ref = messenger.send(
                delivery.place,
                rendered,
                attempt_id=delivery.attempt_id,
                ref=card.message_ref if delivery.operation is Operation.UPDATE else None,
                parent=delivery.parent,
            )
        except IntegrationError as problem:
            return after_failure(delivery, problem, operation, self._now())
        except StorageUnavailable:  # who is named on it could not be read: the card is not to blame
            raise
        except Exception as problem:  # the delivery worker: a card that cannot be drawn stops no other
            log.exception("card cannot be shown", subject=card.subject, slot=card.slot, error=problem)
            # This card's own fault: the others there do not wait.
            return replace(self._after_mistake(card, "render_failed"), rest_s=0.0)
        return Outcome(self._shown(delivery, looks, ref))

    def _render(self, delivery: Delivery, messenger: Messenger) -> tuple[Rendered, str]:
        """The newest state, and how it looks."""
        content = self._contents.of(delivery, self._now())
        rendered = messenger.render(content, delivery.place)
        steady = self._contents.steady_of(delivery, self._now())
        if steady is None or steady == content:
            return rendered, looks_of(rendered, None if steady is None else rendered)
        return rendered, looks_of(rendered, messenger.render(steady, delivery.place))

    def _listen(self, delivery: Delivery, outcome: Outcome) -> Heard:
        """Note whether an account answers; what its answer tells."""
        if outcome.unanswered:
            was_asked = delivery.asks_first and outcome.unanswered is not Operation.FIND
            self._silence.begin(delivery.place, self._now(), was_asked=was_asked)
            return Heard.NOTHING_NEW
        if not outcome.was_called:
            return Heard.NOTHING_NEW
        return self._silence.end(delivery.place, delivery.card, self._now())

    def _asks_again(self, delivery: Delivery, outcome: Outcome) -> Outcome:
        """The same, or tried again sooner: one card of a silent account finds out for all whether it is back."""
        now = self._now()
        if not may_ask(delivery, outcome, now):
            return outcome
        at = self._silence.asks_again_at(delivery.place, now)
        return outcome if at is None else asking(delivery, outcome, now, at)

    def _shown(self, delivery: Delivery, looks: str, ref: str) -> Settlement:
        card, is_final, now = delivery.card, delivery.is_final, self._now()
        due_at = 0.0
        if not is_final or delivery.digest is not None:
            due_at = now + card.options.get("progress_interval_s", self._progress_interval_s)
        revision = delivery.subject.revision
        shown = Settlement(card.id, "sent", revision, looks, ref, due_at=due_at, shown_final=is_final)
        if delivery.digest is not None:  # a build may have ended since it was claimed
            shown = replace(shown, news_by=now + ENDS_WITHIN_S)
        if delivery.operation is Operation.UPDATE and self._now() < doubts.undone_until(card):
            return doubts.shown_for_now(card, shown)
        is_repeated = delivery.is_in_doubt and not delivery.capabilities.can_find
        return replace(shown, reason="repeated") if is_repeated else shown

    def _find(self, messenger: Messenger, delivery: Delivery, further: budgeting.FurtherCalls) -> str | None:
        """What the platform knows of an attempt, which may be one that was not begun before."""
        started_at = delivery.card.attempt_started_at if delivery.is_in_doubt else self._now()
        if started_at is None:
            return None
        since = datetime.fromtimestamp(started_at, UTC)

        def more() -> None:
            further()
            if self._now() > delivery.send_before + CALL_S:  # somebody else would begin it anew beside this one
                raise Unavailable(delivery.place.platform, SLOW_SEARCH)

        ref = messenger.find(
            delivery.place, attempt_id=delivery.attempt_id, since=since, parent=delivery.parent, more=more
        )
        if ref is None and not delivery.only_looks:
            self._must_be_in_time(delivery, SLOW_SEARCH)
        return ref

    def _must_be_in_time(self, delivery: Delivery, reason: str) -> None:
        """Raise Unavailable when a call might outlive the lease: somebody else may be about to make it."""
        if self._now() > delivery.send_before:
            raise Unavailable(delivery.place.platform, reason)

    def _after_mistake(self, card: CardRecord, reason: str) -> Outcome:
        """The third one ends it; the post may have been made."""
        outcome = give_up_slowly(card, reason, self._now(), is_hopeless=card.tries >= 2)
        return replace(outcome, settlement=replace(outcome.settlement, keep_attempt=True))

    # --- settling

    def _settle(self, delivery: Delivery, outcome: Outcome, moved: Mapping[str, Place] = NOT_MOVED) -> None:
        lease, now = delivery.lease, self._now()
        settlement = spare_the_end(delivery, outcome.settlement)
        pace = delivery.capabilities.place_budget
        arrival = pace.after(lease.arrival, now) if outcome.was_called else lease.arrival
        free_at = max(pace.ready_at(arrival), now + outcome.rest_s)

        def work(tx: Transaction) -> tuple[bool, DeadLetter | None]:
            is_held, letter = self._dead_letters.settle(
                tx, lease, delivery.attempt_id, delivery.card, settlement, now=now
            )
            if not is_held:
                return False, None
            if (settlement.shown_digest or "").startswith(ONCE_MORE):
                until, newest = doubts.undone_until(delivery.card), delivery.subject.revision
                tx.pacing.postpone(delivery.card.id, until, settlement.reason, unless_after=newest)
            for window in outcome.paused:
                tx.pacing.pause(window.scope, settlement.due_at)
            if settlement.reason in ARRIVED and (scope := spent_scope(delivery, now)) and delivery.flapping:
                tx.pacing.spend(scope, now + delivery.flapping.per_s)
            for address, place in moved.items():
                tx.places.move(address, lease.key, place)
            reason = settlement.reason if outcome.rest_s else ""
            return tx.pacing.release(lease, arrival=arrival, free_at=free_at, reason=reason), letter

        is_held, letter = self._settling.settle(lease, work)
        record([letter] if letter else [])
        said = settlement.reason if is_held else "lease_lost"
        if is_held and outcome.is_repeated:  # without an answer, so that its reason says only that
            said = "repeated"
        ATTEMPTS.labels(delivery.place.platform, said).inc()
        log.info(
            "attempt", subject=delivery.card.subject, slot=delivery.card.slot, destination=lease.label, outcome=said
        )
        if is_held:
            budgeting.end(self._store, (*delivery.calls, *outcome.further), was_made=outcome.was_called, now=now)

    def _now(self) -> float:
        return self._clock.now().timestamp()
