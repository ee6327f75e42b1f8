"""Giving a delivery up: the dead letter, and the notice to those who run Shipmate, in one transaction.

A notice is a slot of its own at the admin's place, so it is paced, tried again and kept from doubling like any other
post. It belongs to a cause (a platform and a reason) instead of a build: the row of a cause says when it was last told
of, which all workers share and no restart forgets. Further places of the same cause are added to what stands there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from bot.domain.builds import Phase
from bot.domain.folding import Folded
from bot.domain.places import ADMIN_SLOT, DestinationSettings, Place
from bot.domain.subjects import SubjectKey, SubjectKind
from bot.ports import CardRecord, DestinationLease, Settlement, SubjectRecord, Transaction
from bot.services.presenters.causes import label_of, labels
from bot.telemetry import DEAD_LETTERS, logger

QUIET_S = 3600.0
DAY_S = 86_400.0
MOST_WORDS = 80
GIVEN_UP, NOT_FOUND, CREDENTIAL = "given_up", "not_found", "credential"
ARRIVED = frozenset({"sent", "found", "repeated"})
_DEAD, _FAILED = "dead:", "failed:"
_CONSEQUENCES = frozenset({"no_card"})  # of another dead letter, which was told of

log = logger(__name__)


class Work(StrEnum):
    """What else than cards is given up."""

    ANSWER = "answer"
    COMMAND = "command"
    JOB = "job"
    TRACKER = "tracker"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A delivery that was given up just now; `reason` is without `dead:`."""

    card: CardRecord
    label: str
    reason: str


class DeadLetters:
    """Settles attempts, and has the admin told of what dies, and of credentials that are refused.

    `admin` is the configured place, None for nobody.
    """

    def __init__(self, admin: DestinationSettings | None = None) -> None:
        self._admin = admin

    def settle(
        self,
        tx: Transaction,
        lease: DestinationLease,
        attempt_id: str | None,
        card: CardRecord,
        settlement: Settlement,
        *,
        now: float,
    ) -> tuple[bool, DeadLetter | None]:
        """Whether the lease was still held, and what died; once that is committed, `record` counts it."""
        if not tx.deliveries.settle(lease, attempt_id, settlement, now):
            return False, None
        if settlement.is_refused and self._admin is not None and card.slot != ADMIN_SLOT:
            reason = settlement.reason.partition(":")[2]
            self._tell(tx, self._admin, lease.key, lease.label, reason, now, refused=CREDENTIAL)
        elif settlement.reason in ARRIVED and card.reason.startswith(_FAILED) and self._admin is not None:
            # Perhaps of refused credentials, which are good now.
            key = _key_of(lease.key, CREDENTIAL, card.reason.removeprefix(_FAILED))
            tx.inspection.end(key, _place_of(tx, self._admin))
        if not (settlement.is_dead and settlement.reason.startswith(_DEAD)):
            return True, None
        letter = DeadLetter(card, lease.label, settlement.reason.removeprefix(_DEAD))
        self._announce(tx, letter, now)
        return True, letter

    def _announce(self, tx: Transaction, letter: DeadLetter, now: float) -> None:
        """Have the admin told, unless the same was told of within the hour; of its own notices nobody is told."""
        card, admin = letter.card, self._admin
        if admin is None or card.slot == ADMIN_SLOT or letter.reason in _CONSEQUENCES:
            return
        self._tell(tx, admin, card.destination, letter.label, letter.reason, now, subject=card.subject, slot=card.slot)

    def announce_unresolved(self, tx: Transaction, address: str, reason: str, now: float) -> None:
        """Have the admin told that an address leads nowhere, once an hour and cause; never of the admin's own."""
        if self._admin is not None and self._admin.address != address:
            self._tell(tx, self._admin, address, address.partition(":")[2], reason, now)

    def announce_work(self, tx: Transaction, work: Work, system: str, what: str, reason: str, now: float) -> None:
        """Have the admin told that work with a system was given up, once an hour and cause; `what` holds no secret."""
        if self._admin is not None:
            self._tell(tx, self._admin, f"{system}:", what[:MOST_WORDS], reason, now, work=work.value)

    @staticmethod
    def _tell(
        tx: Transaction,
        admin: DestinationSettings,
        place: str,
        label: str,
        reason: str,
        now: float,
        **more: str,
    ) -> None:
        options = {
            **more,
            "locale": admin.locale,
            "timezone": admin.timezone,
            "place": label,
            "platform": Place(place, "").platform,
            "reason": reason,
        }
        what = more.get("work") or more.get("refused") or (GIVEN_UP if more else NOT_FOUND)
        tx.inspection.announce(
            _key_of(place, what, reason),
            _place_of(tx, admin),
            options,
            at=now,
            after=now - (DAY_S if what == CREDENTIAL else QUIET_S),
            after_end=now - QUIET_S,
        )


def expect(platforms: Iterable[str]) -> None:
    """Let the counters begin at 0: for Prometheus a series that begins at 1 has not increased."""
    for platform in platforms:
        for label in labels():
            DEAD_LETTERS.labels(platform, label)


def record(letters: Sequence[DeadLetter]) -> None:
    """Count and log what was given up."""
    for letter in letters:
        platform = Place(letter.card.destination, "").platform
        DEAD_LETTERS.labels(platform, label_of(letter.reason)).inc()
        log.warning(
            "given up",
            id=letter.card.id,
            subject=letter.card.subject,
            slot=letter.card.slot,
            destination=letter.label,
            reason=letter.reason,
        )


def announced(card: CardRecord) -> SubjectRecord:
    """What stands for a build where a notice to the admin is shown: nothing but the cause's key."""
    return SubjectRecord(SubjectKey.parse(card.subject), Folded(0, 1, Phase.FINISHED, 0.0), card.wanted_revision)


def _place_of(tx: Transaction, admin: DestinationSettings) -> str:
    return tx.places.key_of(admin.address) or admin.address


def _key_of(key: str, what: str, reason: str) -> str:
    """A cause, by the key of a place: each account has credentials of its own."""
    place = Place(key, "")
    about = f"{what}:{place.account}" if what == CREDENTIAL else what
    return str(SubjectKey(SubjectKind.DEAD_LETTER, place.platform, about, reason))
