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

from bot.domain.places import Operation, Place
from bot.domain.retries import MOST_TRIES, pause_s
from bot.domain.routing import Updates
from bot.errors import (
    AuthFailed,
    DestinationGone,
    IntegrationError,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Unavailable,
)
from bot.ports import (
    CardRecord,
    Clock,
    DestinationLease,
    Ids,
    Messenger,
    Settlement,
    Store,
    Transaction,
)
from bot.services.contents import content_of, spent_scope
from bot.services.dead_letters import DeadLetter, DeadLetters, record
from bot.services.planning import REST_S, Delivery, Planner, Resolution
from bot.telemetry import ATTEMPTS, logger, redact

DOUBT_PAUSE_S = 2.0
LONGEST_REST_S = 15.0  # of a place, while one card of it that failed rests longer: the others are not to blame
NOT_MOVED: Mapping[str, Place] = MappingProxyType({})
_ARRIVED = frozenset({"sent", "found"})
_PLACE_GONE = frozenset({"channel_not_found", "is_archived"})

log = logger(__name__)


class Deliverer:
    """Shows what the cards want, at the places of all platforms.

    `progress_interval_s` is the least time between two revisions of a card that is not final, where its route and
    destination name none.
    """

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
    ) -> None:
        self._store = store
        self._clock = clock
        self._dead_letters = dead_letters or DeadLetters()
        self._planner = Planner(ids, messengers, addresses, self._dead_letters)
        self._messengers = messengers
        self._addresses = addresses
        self._progress_interval_s = progress_interval_s

    def claim(self, limit: int) -> list[Delivery | Resolution]:
        """Take up to `limit` destinations with due work; each comes back with one attempt to make."""
        now = self._now()
        claimed, letters = self._store.write(lambda tx: self._planner.claim(tx, now, limit))
        record(letters)
        return claimed

    def carry_out(self, work: Delivery | Resolution) -> None:
        """Make the attempt and record what came of it."""
        if isinstance(work, Resolution):
            self._resolve(work)
            return
        settlement, pause = self._attempt(work)
        if settlement.is_dead and settlement.reason.partition(":")[2] in _PLACE_GONE:
            try:
                if moved := self._found_anew(work):
                    self._settle(work, Settlement(work.card.id, "moved"), 0.0, moved)
                    return
            except IntegrationError as problem:
                settlement, pause = self._after_failure(work, problem)
        self._settle(work, settlement, pause)

    def put_off(self, work: Delivery | Resolution) -> None:
        """Let a destination rest after a mistake of ours; the card's try counts, and three of them end it."""
        now = self._now()
        if isinstance(work, Resolution):
            self._rest(work.lease, REST_S, "unresolved:unexpected")
            return
        settlement, rest = self._give_up_slowly(work.card, "unexpected", is_hopeless=work.card.tries >= 2)
        settlement = replace(settlement, keep_attempt=True)  # the post may have been made

        def settle(tx: Transaction) -> DeadLetter | None:
            is_held, letter = self._dead_letters.settle(tx, work.lease, work.attempt_id, work.card, settlement, now=now)
            if is_held:
                tx.pacing.release(work.lease, arrival=work.lease.arrival, free_at=now + rest, reason="")
            return letter

        if letter := self._store.write(settle):
            record([letter])

    # --- attempting

    def _attempt(self, delivery: Delivery) -> tuple[Settlement, float]:
        """What came of it, and for how long the destination rests beyond its budget (0 where all is well)."""
        card, messenger = delivery.card, self._messengers[delivery.place.platform]
        try:
            rendered = messenger.render(content_of(delivery, self._now()), delivery.place)
            if card.message_ref is not None and rendered.digest == card.shown_digest:
                return Settlement(card.id, "unchanged", shown_revision=delivery.subject.revision), 0.0
            if delivery.is_in_doubt:
                found = self._find(messenger, delivery)
                if found is not None:
                    return Settlement(card.id, "found", card.attempt_revision, "", found), 0.0
            ref = messenger.send(
                delivery.place,
                rendered,
                attempt_id=delivery.attempt_id,
                ref=card.message_ref if delivery.operation is Operation.UPDATE else None,
                parent=delivery.parent,
            )
        except IntegrationError as problem:
            settlement, rest = self._after_failure(delivery, problem)
            return replace(settlement, detail=redact(problem.detail)), rest
        except Exception as problem:  # the delivery worker: a card that cannot be drawn stops no other
            log.exception("card cannot be shown", subject=card.subject, slot=card.slot, error=problem)
            settlement, _ = self._give_up_slowly(card, "render_failed", is_hopeless=card.tries >= 2)
            # This card's own fault: the others there do not wait. The post may have been made all the same.
            return replace(settlement, keep_attempt=True), 0.0
        due_at = 0.0
        if not card.is_final or delivery.digest is not None:
            due_at = self._now() + card.options.get("progress_interval_s", self._progress_interval_s)
        return Settlement(
            card.id,
            "sent",
            delivery.subject.revision,
            rendered.digest,
            ref,
            due_at=due_at,
            shown_final=card.is_final,
        ), 0.0

    def _find(self, messenger: Messenger, delivery: Delivery) -> str | None:
        """What the platform knows of an attempt in doubt; where it cannot be asked, the post is made again."""
        card = delivery.card
        if not delivery.capabilities.can_find or card.attempt_started_at is None:
            return None
        since = datetime.fromtimestamp(card.attempt_started_at, UTC)
        found = messenger.find(delivery.place, attempt_id=delivery.attempt_id, since=since, parent=delivery.parent)
        if found is None and self._now() > delivery.send_before:
            raise Unavailable(delivery.place.platform, "slow_search")
        return found

    def _after_failure(self, delivery: Delivery, problem: IntegrationError) -> tuple[Settlement, float]:
        card, is_post = delivery.card, delivery.operation is Operation.POST
        match problem:
            case RateLimited():
                pause = problem.retry_after_s or DOUBT_PAUSE_S
                has_account = delivery.operation in delivery.capabilities.account_budgets
                rest = 0.0 if problem.scope == "account" and has_account else pause
                due_at = self._now() + pause
                keep = delivery.is_in_doubt
                return Settlement(card.id, "paused:rate_limited", keep_attempt=keep, due_at=due_at), rest
            case OutcomeUnknown() if is_post:
                settlement, rest = self._give_up_slowly(card, problem.reason)
                return replace(
                    settlement, keep_attempt=True, due_at=max(settlement.due_at, self._now() + DOUBT_PAUSE_S)
                ), rest
            case DestinationGone() if problem.reason == "message_not_found" and not is_post:
                return Settlement(card.id, "deleted", forget_ref=True), 0.0
            case DestinationGone() if problem.reason == "cannot_edit" and not is_post:
                return _where_edits_are_off(delivery), 0.0
            case DestinationGone() | Rejected():
                return Settlement(card.id, f"dead:{problem.reason}", is_dead=True), 0.0
            case AuthFailed():
                settlement, _ = self._give_up_slowly(card, problem.reason)
                return replace(settlement, keep_attempt=delivery.is_in_doubt), REST_S
            case _:
                settlement, rest = self._give_up_slowly(card, problem.reason)
                return replace(settlement, keep_attempt=delivery.is_in_doubt), rest

    def _give_up_slowly(self, card: CardRecord, reason: str, *, is_hopeless: bool = False) -> tuple[Settlement, float]:
        tries = card.tries + 1
        if is_hopeless or tries >= MOST_TRIES:
            return Settlement(card.id, f"dead:{reason}", is_dead=True), 0.0
        pause = pause_s(tries)
        settlement = Settlement(card.id, f"failed:{reason}", due_at=self._now() + pause, tries=tries)
        return settlement, min(pause, LONGEST_REST_S)

    # --- settling

    def _settle(
        self, delivery: Delivery, settlement: Settlement, rest: float, moved: Mapping[str, Place] = NOT_MOVED
    ) -> None:
        now = self._now()
        lease, place = delivery.lease, delivery.place
        pace = delivery.capabilities.place_budget
        arrival = lease.arrival if settlement.reason == "unchanged" else pace.after(lease.arrival, now)
        free_at = max(pace.ready_at(arrival), now + rest)
        account = delivery.capabilities.account_budgets.get(delivery.operation)

        def work(tx: Transaction) -> tuple[bool, DeadLetter | None]:
            is_held, letter = self._dead_letters.settle(
                tx, lease, delivery.attempt_id, delivery.card, settlement, now=now
            )
            if not is_held:
                return False, None
            if settlement.reason == "paused:rate_limited" and rest == 0.0 and account is not None:
                tx.pacing.pause(account.scope, settlement.due_at)
            if settlement.reason in _ARRIVED and (scope := spent_scope(delivery, now)) and delivery.flapping:
                tx.pacing.spend(scope, now + delivery.flapping.per_s)
            for address, found in moved.items():
                tx.places.move(address, lease.key, found)
            reason = settlement.reason if rest else ""
            return tx.pacing.release(lease, arrival=arrival, free_at=free_at, reason=reason), letter

        is_held, letter = self._store.write(work)
        record([letter] if letter else [])
        outcome = settlement.reason if is_held else "lease_lost"
        ATTEMPTS.labels(place.platform, outcome).inc()
        log.info(
            "attempt", subject=delivery.card.subject, slot=delivery.card.slot, destination=lease.label, outcome=outcome
        )

    def _resolve(self, work: Resolution) -> None:
        address = work.lease.key
        messenger = self._messengers[address.partition(":")[0]]
        try:
            place = messenger.resolve(address)
        except IntegrationError as problem:
            reason, rest = f"unresolved:{problem.reason}", REST_S if not problem.recoverable else 5.0
            log.warning("destination cannot be resolved", destination=address, error=problem)
            self._rest(work.lease, max(rest, problem.retry_after_s or 0.0), reason)
            return
        self._store.write(lambda tx: tx.places.adopt(address, place))

    def _found_anew(self, delivery: Delivery) -> Mapping[str, Place]:
        """Where the addresses of a place that is gone lead now: a channel was made again, a token is another team's."""
        gone, messenger = delivery.place, self._messengers[delivery.place.platform]
        found = {}
        for address in self._store.read(lambda tx: tx.places.addresses_of(gone.key)):
            if address not in self._addresses:
                continue
            try:
                place = messenger.resolve(address)
            except (DestinationGone, Rejected):
                continue
            if place.key != gone.key:
                log.warning("destination has moved", destination=address, place=place.key)
                found[address] = place
        return found

    def _rest(self, lease: DestinationLease, seconds: float, reason: str) -> None:
        free_at = self._now() + seconds
        self._store.write(lambda tx: tx.pacing.release(lease, arrival=0.0, free_at=free_at, reason=reason))

    def _now(self) -> float:
        return self._clock.now().timestamp()


def _where_edits_are_off(delivery: Delivery) -> Settlement:
    """As at places that never edit: the final state is a post of its own, and so is all else where the route asks."""
    card = delivery.card
    asks_for_all = card.options.get("updates") == Updates.ALL.value
    if asks_for_all or (card.is_final and not card.shown_final):
        return Settlement(card.id, "cannot_edit", forget_ref=True)
    return Settlement(card.id, "filtered:cannot_edit", shown_revision=delivery.subject.revision)
