"""The path out: claim a destination with due work, render, attempt, and settle, put off or give up.

The loop is level-triggered. A row says which revision of a subject is wanted in a slot and which one is shown; only the
newest is ever sent. What a crash leaves open is seen at the next claim: a post whose attempt was never settled is in
doubt, and the platform is asked whether it exists before anything is sent again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from bot.domain.builds import BuildStatus
from bot.domain.places import CARD_SLOT, LOG_SLOT, NOTICE_SLOT, Capabilities, Operation, Place, kind_of_slot
from bot.domain.retries import MOST_TRIES, pause_s
from bot.domain.routing import Updates
from bot.domain.subjects import SubjectKey
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
    SubjectRecord,
    Transaction,
)
from bot.services.presenters.build import present
from bot.telemetry import ATTEMPTS, logger

LEASE_S = 30.0
CALL_S = 8.0
CANDIDATES = 20
PARENT_WAIT_S = 1.0
PROGRESS_RESERVE = 0.5
DOUBT_PAUSE_S = 2.0
DETAILS_GRACE_S = 4.0
AUTH_PAUSE_S = 60.0
_UNREADABLE = (AttributeError, LookupError, TypeError, ValueError)  # what a row that makes no sense raises

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One claimed attempt. `is_in_doubt`: an earlier attempt, named by `attempt_id`, may have made the post."""

    lease: DestinationLease
    place: Place
    card: CardRecord
    subject: SubjectRecord
    operation: Operation
    attempt_id: str
    is_in_doubt: bool
    parent: str | None
    capabilities: Capabilities
    claimed_at: float


@dataclass(frozen=True, slots=True)
class Resolution:
    """A claimed destination that is known by its configured address only."""

    lease: DestinationLease


class Deliverer:
    """Shows what the cards want, at the places of all platforms.

    `progress_interval_s` is the least time between two revisions of a card that is not final.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        ids: Ids,
        messengers: Mapping[str, Messenger],
        addresses: frozenset[str],
        progress_interval_s: float = 2.0,
    ) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._messengers = messengers
        self._addresses = addresses
        self._progress_interval_s = progress_interval_s

    def claim(self, limit: int) -> list[Delivery | Resolution]:
        """Take up to `limit` destinations with due work; each comes back with one attempt to make."""
        now = self._now()
        return self._store.write(lambda tx: self._claim_in(tx, now, limit))

    def carry_out(self, work: Delivery | Resolution) -> None:
        """Make the attempt and record what came of it."""
        if isinstance(work, Resolution):
            self._resolve(work)
            return
        settlement, pause = self._attempt(work)
        self._settle(work, settlement, pause)

    def put_off(self, work: Delivery | Resolution) -> None:
        """Let a destination rest after a mistake of ours; the card's try counts, and three of them end it."""
        now = self._now()
        if isinstance(work, Resolution):
            self._rest(work.lease, AUTH_PAUSE_S, "unresolved:unexpected")
            return
        settlement, rest = self._give_up_slowly(work.card, "unexpected", is_hopeless=work.card.tries >= 2)
        settlement = replace(settlement, keep_attempt=True)  # the post may have been made

        def settle(tx: Transaction) -> None:
            if tx.deliveries.settle(work.lease, work.attempt_id, settlement, now):
                tx.pacing.release(work.lease, arrival=work.lease.arrival, free_at=now + rest, reason="")

        self._store.write(settle)

    # --- claiming

    def _claim_in(self, tx: Transaction, now: float, limit: int) -> list[Delivery | Resolution]:
        claimed: list[Delivery | Resolution] = []
        for lease in tx.deliveries.lease(now, now + LEASE_S, limit):
            if lease.key in self._addresses:
                claimed.append(Resolution(lease))
                continue
            capabilities = self._capabilities(lease)
            if isinstance(capabilities, str):
                tx.pacing.release(lease, arrival=lease.arrival, free_at=now + AUTH_PAUSE_S, reason=capabilities)
                continue
            try:
                delivery = self._plan(tx, lease, capabilities, now)
            except _UNREADABLE as problem:  # its cards cannot even be listed: other destinations do not wait for it
                log.exception("destination cannot be read", destination=lease.label, error=problem)
                tx.pacing.release(lease, arrival=lease.arrival, free_at=now + AUTH_PAUSE_S, reason="paused:unreadable")
                continue
            if delivery is None:
                tx.pacing.release(lease, arrival=lease.arrival, free_at=now, reason="")
            else:
                claimed.append(delivery)
        return claimed

    def _capabilities(self, lease: DestinationLease) -> Capabilities | str:
        """What can be done at a destination, or why nothing can."""
        place = Place(lease.key, lease.label)
        messenger = self._messengers.get(place.platform)
        if messenger is None:  # the platform was taken out of the configuration
            return "paused:not_configured"
        try:
            return messenger.capabilities(place)
        except Exception as problem:  # the delivery worker: one platform's mistake stops no other destination
            log.exception("destination cannot be judged", destination=lease.label, error=problem)
            return "paused:unexpected"

    def _plan(
        self, tx: Transaction, lease: DestinationLease, capabilities: Capabilities, now: float
    ) -> Delivery | None:
        """The attempt to make at a leased destination: the first due slot that nothing holds back."""
        for card in tx.deliveries.due_cards(lease.key, now, CANDIDATES):
            try:
                planned = self._plan_card(tx, lease, card, capabilities, now)
            except _UNREADABLE as problem:
                log.exception("card cannot be read", subject=card.subject, slot=card.slot, error=problem)
                planned = Settlement(card.id, "dead:unreadable", is_dead=True)
            if isinstance(planned, Delivery):
                return planned
            if planned is not None:
                tx.deliveries.settle(lease, None, planned, now)
        return None

    def _plan_card(
        self, tx: Transaction, lease: DestinationLease, card: CardRecord, capabilities: Capabilities, now: float
    ) -> Delivery | Settlement | None:
        """The attempt to make for a due slot, or how it is settled without one, or None when it waits."""
        subject = tx.subjects.get(SubjectKey.parse(card.subject))
        if subject is None:
            return Settlement(card.id, "dead:subject_gone", is_dead=True)
        if skipped := _skipped(card, capabilities):
            return Settlement(card.id, skipped, shown_revision=card.wanted_revision)
        parent = None if card.slot == CARD_SLOT else _parent_of(tx, card)
        if parent is not None and parent.is_dead and parent.message_ref is None:
            return Settlement(card.id, "dead:no_card", is_dead=True)
        if held := self._held_back(tx, card, subject, capabilities, now):
            tx.pacing.postpone(card.id, *held)
            return None
        return self._begin(tx, lease, card, subject, capabilities)

    def _held_back(
        self, tx: Transaction, card: CardRecord, subject: SubjectRecord, capabilities: Capabilities, now: float
    ) -> tuple[float, str] | None:
        """Until when a due slot waits, and why."""
        if card.slot != CARD_SLOT and capabilities.can_thread and _parent_ref(tx, card) is None:
            return now + PARENT_WAIT_S, "waiting:card"
        if not capabilities.can_edit and _lacks_details(card, subject) and now < card.final_since + DETAILS_GRACE_S:
            return card.final_since + DETAILS_GRACE_S, "waiting:details"
        operation = _operation(card, capabilities)
        budget = capabilities.account_budgets.get(operation)
        if budget is None:
            return None
        arrival, paused_until = tx.pacing.arrival(budget.scope)
        is_progress = operation is Operation.UPDATE and not card.is_final
        ready_at = max(paused_until, budget.ready_at(arrival, reserve=PROGRESS_RESERVE if is_progress else 0.0))
        if ready_at > now:
            return ready_at, "paused:budget"
        tx.pacing.spend(budget.scope, budget.after(arrival, now))
        return None

    def _begin(
        self,
        tx: Transaction,
        lease: DestinationLease,
        card: CardRecord,
        subject: SubjectRecord,
        capabilities: Capabilities,
    ) -> Delivery:
        operation, now = _operation(card, capabilities), self._now()
        is_in_doubt = card.attempt_id is not None
        attempt_id = card.attempt_id or self._ids.new()
        if not is_in_doubt:
            tx.deliveries.begin(card, attempt_id, operation.value, now)
        parent = _parent_ref(tx, card) if card.slot != CARD_SLOT and capabilities.can_thread else None
        place = Place(lease.key, lease.label)
        return Delivery(
            lease, place, card, subject, operation, attempt_id, is_in_doubt, parent, capabilities, claimed_at=now
        )

    # --- attempting

    def _attempt(self, delivery: Delivery) -> tuple[Settlement, float]:
        """What came of it, and for how long the destination rests beyond its budget (0 where all is well)."""
        card, messenger = delivery.card, self._messengers[delivery.place.platform]
        try:
            options = {**card.options, "mentions_in_card": not delivery.capabilities.can_edit}
            content = present(delivery.subject.build(), card.slot, options)
            rendered = messenger.render(content, delivery.place)
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
            return self._after_failure(delivery, problem)
        except Exception as problem:  # the delivery worker: a card that cannot be drawn stops no other
            log.exception("card cannot be shown", subject=card.subject, slot=card.slot, error=problem)
            settlement, _ = self._give_up_slowly(card, "render_failed", is_hopeless=card.tries >= 2)
            # This card's own fault: the others there do not wait. The post may have been made all the same.
            return replace(settlement, keep_attempt=True), 0.0
        due_at = 0.0 if card.is_final else self._now() + self._progress_interval_s
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
        found = messenger.find(delivery.place, attempt_id=delivery.attempt_id, since=since)
        if found is None and self._now() > delivery.claimed_at + LEASE_S - 2 * CALL_S:
            raise Unavailable(delivery.place.platform, "slow_search")  # posting now might outlive the lease
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
            case DestinationGone() | Rejected():
                return Settlement(card.id, f"dead:{problem.reason}", is_dead=True), 0.0
            case AuthFailed():
                settlement, _ = self._give_up_slowly(card, problem.reason)
                return replace(settlement, keep_attempt=delivery.is_in_doubt), AUTH_PAUSE_S
            case _:
                settlement, rest = self._give_up_slowly(card, problem.reason)
                return replace(settlement, keep_attempt=delivery.is_in_doubt), rest

    def _give_up_slowly(self, card: CardRecord, reason: str, *, is_hopeless: bool = False) -> tuple[Settlement, float]:
        tries = card.tries + 1
        if is_hopeless or tries >= MOST_TRIES:
            return Settlement(card.id, f"dead:{reason}", is_dead=True), 0.0
        pause = pause_s(tries)
        return Settlement(card.id, f"failed:{reason}", due_at=self._now() + pause, tries=tries), pause

    # --- settling

    def _settle(self, delivery: Delivery, settlement: Settlement, rest: float) -> None:
        now = self._now()
        lease, place = delivery.lease, delivery.place
        pace = delivery.capabilities.place_budget
        arrival = lease.arrival if settlement.reason == "unchanged" else pace.after(lease.arrival, now)
        free_at = max(pace.ready_at(arrival), now + rest)
        account = delivery.capabilities.account_budgets.get(delivery.operation)

        def work(tx: Transaction) -> bool:
            if not tx.deliveries.settle(lease, delivery.attempt_id, settlement, now):
                return False
            if settlement.reason == "paused:rate_limited" and rest == 0.0 and account is not None:
                tx.pacing.pause(account.scope, settlement.due_at)
            reason = settlement.reason if rest else ""
            return tx.pacing.release(lease, arrival=arrival, free_at=free_at, reason=reason)

        is_held = self._store.write(work)
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
            reason, rest = f"unresolved:{problem.reason}", AUTH_PAUSE_S if not problem.recoverable else 5.0
            log.warning("destination cannot be resolved", destination=address, error=problem)
            self._rest(work.lease, max(rest, problem.retry_after_s or 0.0), reason)
            return
        self._store.write(lambda tx: tx.places.adopt(address, place))

    def _rest(self, lease: DestinationLease, seconds: float, reason: str) -> None:
        free_at = self._now() + seconds
        self._store.write(lambda tx: tx.pacing.release(lease, arrival=0.0, free_at=free_at, reason=reason))

    def _now(self) -> float:
        return self._clock.now().timestamp()


def _operation(card: CardRecord, capabilities: Capabilities) -> Operation:
    return Operation.UPDATE if card.message_ref is not None and capabilities.can_edit else Operation.POST


def _skipped(card: CardRecord, capabilities: Capabilities) -> str | None:
    """Why nothing is sent: a place without threads has the log on its card alone, and where nothing can be edited,
    opening and final state are posts of their own.
    """
    kind = kind_of_slot(card.slot)
    if kind == LOG_SLOT and not capabilities.can_thread:
        return "filtered:no_threads"
    if capabilities.can_edit:
        return None
    if kind == NOTICE_SLOT:
        return "filtered:card_notifies"
    if card.slot != CARD_SLOT or card.message_ref is None or card.options.get("updates") == Updates.ALL.value:
        return None
    return None if card.is_final and not card.shown_final else "filtered:cannot_edit"


def _lacks_details(card: CardRecord, subject: SubjectRecord) -> bool:
    """A failed build whose log has not been read yet: worth a moment where the final post cannot be amended."""
    build = subject.build()
    return card.is_final and build.status is BuildStatus.FAILED and build.facts.log_excerpt is None


def _parent_of(tx: Transaction, card: CardRecord) -> CardRecord | None:
    for other in tx.cards.of_subject(card.subject):
        if other.destination == card.destination and other.slot == CARD_SLOT:
            return other
    return None


def _parent_ref(tx: Transaction, card: CardRecord) -> str | None:
    parent = _parent_of(tx, card)
    return None if parent is None else parent.message_ref
