"""What to attempt next at a destination: the first due slot that nothing holds back, within one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bot.domain.budgets import LONGEST_CALL_S, Window
from bot.domain.builds import BuildStatus
from bot.domain.deployment_notices import asks_people
from bot.domain.noise import Digest
from bot.domain.places import (
    ADMIN_SLOT,
    CARD_SLOT,
    CHART_SLOT,
    LOG_SLOT,
    NOTICE_SLOT,
    OVERDUE_SLOT,
    Capabilities,
    Operation,
    Place,
    kind_of_slot,
    stands_alone,
)
from bot.domain.retries import pause_s
from bot.domain.routing import Updates
from bot.domain.subjects import SubjectKey, SubjectKind
from bot.ports import CardRecord, DestinationLease, Ids, Messenger, Settlement, SubjectRecord, Transaction
from bot.services import doubts
from bot.services.budgeting import Held, Refusal, take, windows_of
from bot.services.dead_letters import DeadLetter, DeadLetters, announced
from bot.services.hands import Shares
from bot.services.noise import Flapping, Hold, flapping_hold, flapping_of, is_outdated, quiet_hold, storm_hold
from bot.services.silence import Silence
from bot.telemetry import logger

LEASE_S = LONGEST_CALL_S
CALL_S = 8.0
CANDIDATES = 20
PARENT_WAIT_S = 1.0
DETAILS_GRACE_S = 4.0
DIGEST_LINES = 60
REST_S = 60.0
NOT_CONFIGURED = "paused:not_configured"
# What a newer version shows is left to it, for a day, and looked at ever more seldom: it may begin any moment.
SHOWN = frozenset({SubjectKind.BUILD, SubjectKind.DEPLOYMENT, SubjectKind.DIGEST, SubjectKind.DEAD_LETTER})
LEFT = "left:unknown_kind"
MOST_LEFT = 288
UNREADABLE = "dead:unreadable"
_UNREADABLE = (AttributeError, LookupError, TypeError, ValueError)  # what a row that makes no sense raises

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One claimed attempt. `is_in_doubt`: an earlier attempt, named by `attempt_id`, may have made the post.

    `asks_first`: the platform is asked for the post before it is made, or, where it `only_looks`, not made now: it may
    be under way still. After `send_before` a new post might outlive the lease.
    """

    lease: DestinationLease
    place: Place
    card: CardRecord
    subject: SubjectRecord
    operation: Operation
    attempt_id: str
    is_in_doubt: bool
    asks_first: bool
    only_looks: bool
    parent: str | None
    capabilities: Capabilities
    send_before: float
    calls: tuple[Held, ...] = ()
    digest: Digest | None = None
    flapping: Flapping | None = None

    @property
    def is_final(self) -> bool:
        """Whether the end is shown, by the state that is rendered: the card's row may tell of an older or newer one."""
        return self.subject.folded.is_finished if self.digest is None else self.digest.is_final


@dataclass(frozen=True, slots=True)
class Resolution:
    """A claimed destination that is known by its configured address only."""

    lease: DestinationLease
    calls: tuple[Held, ...] = ()


class Planner:
    """Leases destinations and chooses one attempt for each; `addresses` are those that may not be resolved yet."""

    def __init__(
        self,
        ids: Ids,
        messengers: Mapping[str, Messenger],
        addresses: frozenset[str],
        dead_letters: DeadLetters,
        silence: Silence,
    ) -> None:
        self._ids = ids
        self._messengers = messengers
        self._addresses = addresses
        self._dead_letters = dead_letters
        self._silence = silence

    def claim(
        self, tx: Transaction, now: float, limit: int, shares: Shares | None = None
    ) -> tuple[list[Delivery | Resolution], list[DeadLetter]]:
        """Take up to `limit` free destinations, of each account what `shares` leave it, and what was given up unasked.

        A destination that cannot be judged or read rests, and the others do not wait.
        """
        claimed: list[Delivery | Resolution] = []
        letters: list[DeadLetter] = []
        for lease in tx.deliveries.lease(now, now + LEASE_S, limit, shares.taker() if shares else None):
            capabilities = self._capabilities(lease)
            if lease.key in self._addresses:
                resolution = _resolution(tx, lease, capabilities, now)
                claimed += [resolution] if resolution else []
                continue
            if not Place(lease.key, lease.label).id:  # an address of a configuration that this process has not read
                capabilities = NOT_CONFIGURED
            if isinstance(capabilities, str):
                tx.pacing.release(lease, arrival=lease.arrival, free_at=now + REST_S, reason=capabilities)
                continue
            try:
                asks_first = self._silence.asks_first_at(Place(lease.key, lease.label), now)
                visit = _Visit(tx, lease, capabilities, now, self._ids, self._dead_letters, letters, asks_first)
                delivery = visit.plan()
            except _UNREADABLE as problem:  # its cards cannot even be listed: other destinations do not wait for it
                log.exception("destination cannot be read", destination=lease.label, error=problem)
                tx.pacing.release(lease, arrival=lease.arrival, free_at=now + REST_S, reason="paused:unreadable")
                continue
            if delivery is None:
                tx.pacing.release(lease, arrival=lease.arrival, free_at=None, reason="")
            else:
                claimed.append(delivery)
        return claimed, letters

    def _capabilities(self, lease: DestinationLease) -> Capabilities | str:
        """What can be done at a destination, or why nothing can."""
        place = Place(lease.key, lease.label)
        messenger = self._messengers.get(place.platform)
        if messenger is None:  # the platform was taken out of the configuration
            return NOT_CONFIGURED
        try:
            return messenger.capabilities(place)
        except Exception as problem:  # the delivery worker: one platform's mistake stops no other destination
            log.exception("destination cannot be judged", destination=lease.label, error=problem)
            return "paused:unexpected"


def _resolution(
    tx: Transaction, lease: DestinationLease, capabilities: Capabilities | str, now: float
) -> Resolution | None:
    """An address to look up; None where the platform was asked often enough for now."""
    windows: tuple[Window, ...] = ()
    if isinstance(capabilities, Capabilities):
        windows = windows_of(Operation.RESOLVE, capabilities, asks_first=False)
    calls = take(tx, windows, lease.key, is_urgent=True, now=now)
    if isinstance(calls, Refusal):
        tx.pacing.release(lease, arrival=lease.arrival, free_at=calls.until, reason=calls.reason)
        return None
    return Resolution(lease, calls)


@dataclass(frozen=True, slots=True)
class _Visit:
    """A look at what is due at a leased destination; `letters` takes what is given up without an attempt.

    `asks_first`: nobody answered there of late.
    """

    tx: Transaction
    lease: DestinationLease
    capabilities: Capabilities
    now: float
    ids: Ids
    dead_letters: DeadLetters
    letters: list[DeadLetter]
    asks_first: bool
    refusals: dict[tuple[tuple[str, ...], bool], Refusal] = field(default_factory=dict)

    def plan(self) -> Delivery | None:
        """The attempt to make here: the first due slot that nothing holds back."""
        for card in self.tx.deliveries.due_cards(self.lease.key, self.now, CANDIDATES):
            try:
                planned = self._plan_card(card)
            except _UNREADABLE as problem:
                log.exception("card cannot be read", subject=card.subject, slot=card.slot, error=problem)
                planned = Settlement(card.id, UNREADABLE, is_dead=True)
            if isinstance(planned, Delivery):
                return planned
            if planned is not None:
                _, letter = self.dead_letters.settle(self.tx, self.lease, None, card, planned, now=self.now)
                self.letters.extend([letter] if letter else [])
        return None

    def _plan_card(self, card: CardRecord) -> Delivery | Settlement | None:
        """The attempt to make for a due slot, or how it is settled without one, or None when it waits."""
        tx = self.tx
        if (passed_over := self._pass_over(card)) is not None:
            return passed_over
        if card.reason == LEFT:  # nobody has tried to show it yet
            card = replace(card, tries=0)
        subject = announced(card) if card.slot == ADMIN_SLOT else tx.subjects.get(SubjectKey.parse(card.subject))
        if subject is None:
            return Settlement(card.id, "dead:subject_gone", is_dead=True)
        parent, digest = _standing(tx, card)
        if skipped := _folded(card) if digest else _skipped(card, self.capabilities):
            return Settlement(card.id, skipped, shown_revision=card.wanted_revision)
        if parent is not None and parent.is_dead and parent.message_ref is None:
            return Settlement(card.id, "dead:no_card", is_dead=True)
        if parent is not None and _says_nothing_new(card, parent):
            return Settlement(card.id, "filtered:card_tells", shown_revision=card.wanted_revision)
        flapping = flapping_of(tx, card, subject)
        if is_outdated(card, flapping):
            return Settlement(card.id, "filtered:flapping", shown_revision=card.wanted_revision)
        if held := self._hushed(card, flapping) or self._held_back(card, subject, parent):
            tx.pacing.postpone(card.id, *held)
            return None
        calls = self._ask(card)
        if isinstance(calls, Refusal):
            tx.pacing.postpone(card.id, calls.until, calls.reason)
            return None
        delivery = self._begin(card, subject, calls, parent)
        digests = subject.key.kind is SubjectKind.DIGEST
        shown = tx.noise.digest(subject.key, DIGEST_LINES) if digests else None
        return replace(delivery, digest=shown, flapping=flapping)

    def _pass_over(self, card: CardRecord) -> Settlement | None:
        """How a card is settled that this version cannot make sense of."""
        if card.subject.partition(":")[0] not in SHOWN and card.tries < MOST_LEFT:
            due_at = self.now + pause_s(card.tries + 1)
            return Settlement(card.id, LEFT, due_at=due_at, tries=card.tries + 1)
        if not card.is_readable:
            log.error("card cannot be read", subject=card.subject, slot=card.slot)
            return Settlement(card.id, UNREADABLE, is_dead=True)
        return None

    def _hushed(self, card: CardRecord, flapping: Flapping | None) -> Hold | None:
        """Until when a due slot waits so that its channel is quiet; neither an edit nor a post in doubt."""
        if _operation(card, self.capabilities) is Operation.UPDATE or card.attempt_id is not None:
            return None
        held = flapping_hold(card, flapping, self.now) or quiet_hold(card, self.now)
        return held or storm_hold(self.tx, card, self.capabilities, self.now)

    def _held_back(self, card: CardRecord, subject: SubjectRecord, parent: CardRecord | None) -> Hold | None:
        """Until when a due slot waits for another one or for its log, and why."""
        is_below_nothing = parent is None or parent.message_ref is None
        if not stands_alone(card.slot) and self.capabilities.can_thread and is_below_nothing:
            return self.now + PARENT_WAIT_S, "waiting:card"
        patience_ends = card.final_since + DETAILS_GRACE_S
        if not self.capabilities.can_edit and _lacks_details(card, subject) and self.now < patience_ends:
            return patience_ends, "waiting:details"
        return None

    def _ask(self, card: CardRecord) -> tuple[Held, ...] | Refusal:
        """The attempt's calls, out of the account's budgets; what was refused once here is not asked again."""
        operation, asks_first = _operation(card, self.capabilities), self._asks_first(card)
        if self._only_looks(card):
            operation, asks_first = Operation.FIND, False
        windows = windows_of(operation, self.capabilities, asks_first=asks_first)
        is_urgent = card.message_ref is None or card.is_final
        asked = tuple(window.scope for window in windows), is_urgent
        if asked not in self.refusals:
            calls = take(self.tx, windows, self.lease.key, is_urgent=is_urgent, now=self.now)
            if not isinstance(calls, Refusal):
                return calls
            self.refusals[asked] = calls
        return self.refusals[asked]

    def _asks_first(self, card: CardRecord) -> bool:
        """Whether a post may have been made, or would most likely get no answer."""
        is_new = self.asks_first and _operation(card, self.capabilities).is_new
        return self.capabilities.can_find and (card.attempt_id is not None or is_new)

    def _only_looks(self, card: CardRecord) -> bool:
        """Whether a post in doubt must not be made beside the one that may be under way, or be there."""
        if card.attempt_id is None or not self.capabilities.can_find:
            return False
        return not self.capabilities.is_idempotent or self.now < doubts.ends_at(card)

    def _begin(
        self, card: CardRecord, subject: SubjectRecord, calls: tuple[Held, ...], parent: CardRecord | None
    ) -> Delivery:
        operation = _operation(card, self.capabilities)
        is_in_doubt = card.attempt_id is not None
        attempt_id = card.attempt_id or self.ids.new()
        if not is_in_doubt:
            self.tx.deliveries.begin(card, attempt_id, operation.value, self.now)
        thread = parent.message_ref if parent is not None and self.capabilities.can_thread else None
        return Delivery(
            self.lease,
            Place(self.lease.key, self.lease.label),
            card,
            subject,
            operation,
            attempt_id,
            is_in_doubt,
            self._asks_first(card),
            self._only_looks(card),
            thread,
            self.capabilities,
            send_before=self.now + LEASE_S - 2 * CALL_S,
            calls=calls,
        )


def _operation(card: CardRecord, capabilities: Capabilities) -> Operation:
    if kind_of_slot(card.slot) == CHART_SLOT:
        return Operation.UPLOAD
    return Operation.UPDATE if card.message_ref is not None and capabilities.can_edit else Operation.POST


def _folded(card: CardRecord) -> str | None:
    """Why nothing is sent for a build that a digest shows: it has the state, and people are called by a notice."""
    is_call = kind_of_slot(card.slot) == NOTICE_SLOT and card.options.get("mention")
    return None if is_call else "folded:digest"


def _skipped(card: CardRecord, capabilities: Capabilities) -> str | None:
    """Why nothing is sent: a place without threads has the log on its card alone, and where nothing can be edited,
    opening and final state are posts of their own.
    """
    kind = kind_of_slot(card.slot)
    if kind == CHART_SLOT:  # a picture stays as it is, whatever becomes of its subject
        return _skipped_picture(card, capabilities)
    if kind in (LOG_SLOT, OVERDUE_SLOT) and not capabilities.can_thread:
        return "filtered:no_threads"
    if capabilities.can_edit:
        return None
    if kind == NOTICE_SLOT:
        is_new_there = card.message_ref is None and asks_people(card.slot.partition("@")[2])
        return None if is_new_there else "filtered:card_notifies"
    if not stands_alone(card.slot) or card.message_ref is None or card.options.get("updates") == Updates.ALL.value:
        return None
    return None if card.is_final and not card.shown_final else "filtered:cannot_edit"


def _skipped_picture(card: CardRecord, capabilities: Capabilities) -> str | None:
    if card.message_ref is not None:
        return "unchanged"
    return None if capabilities.can_upload and capabilities.can_thread else "filtered:no_pictures"


def _says_nothing_new(card: CardRecord, parent: CardRecord) -> bool:
    """A remark that the card is late, when the card has come in time after all."""
    return kind_of_slot(card.slot) == OVERDUE_SLOT and parent.shown_revision >= card.wanted_revision


def _lacks_details(card: CardRecord, subject: SubjectRecord) -> bool:
    """A failed build whose log has not been read yet: worth a moment where the final post cannot be amended."""
    if subject.key.kind is not SubjectKind.BUILD:
        return False
    build = subject.build()
    return card.is_final and build.status is BuildStatus.FAILED and build.facts.log_excerpt is None


def _standing(tx: Transaction, card: CardRecord) -> tuple[CardRecord | None, str | None]:
    """The card that a remark stands below (None for a card), and the digest that shows its subject, if one does."""
    if card.slot == CARD_SLOT:
        return None, card.folded_into
    own = _card_of(tx, card.subject, card.destination)
    if own is None or own.folded_into is None:
        return own, None
    return _card_of(tx, own.folded_into, card.destination), own.folded_into


def _card_of(tx: Transaction, subject: str, destination: str) -> CardRecord | None:
    for card in tx.cards.of_subject(subject):
        if card.destination == destination and card.slot == CARD_SLOT:
            return card
    return None
