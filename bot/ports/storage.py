"""What services ask of the database: records, and groups of operations within one transaction."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from bot.domain.builds import Build
from bot.domain.deployments import Deployment
from bot.domain.events import Event
from bot.domain.folding import Folded
from bot.domain.subjects import SubjectKey
from bot.ports.audit import AuditTrail
from bot.ports.budgets import Budgets, Pacing
from bot.ports.deploying import Deployments, Locks
from bot.ports.noise import Noise
from bot.ports.people import Accounts, Joining
from bot.ports.places import Places, Subscriptions
from bot.ports.retention import Retention
from bot.ports.tracking import Polls, Tokens, TrackerTasks
from bot.ports.work import Commands, Jobs

if TYPE_CHECKING:
    from bot.ports.inspection import Inspection  # which needs the records of this module

T = TypeVar("T")
UNREADABLE: Mapping[str, Any] = MappingProxyType({})  # options that make no sense


@dataclass(frozen=True, slots=True)
class SubjectRecord:
    """A folded subject as stored; `revision` grows by one with every change."""

    key: SubjectKey
    folded: Folded
    revision: int
    is_fixed: bool = False

    def build(self) -> Build:
        """The subject as a build."""
        return self.folded.build(self.key, is_fixed=self.is_fixed)

    def deployment(self) -> Deployment:
        """The subject as a deployment; LookupError where it is none."""
        return Deployment.from_json(self.folded.values["deployment"])


@dataclass(frozen=True, slots=True)
class CardRecord:
    """The duty to show a slot of a subject at a destination, and how far it is done."""

    id: int
    subject: str
    destination: str
    slot: str
    wanted_revision: int
    shown_revision: int
    shown_digest: str
    message_ref: str | None
    is_final: bool
    final_since: float
    shown_final: bool
    is_dead: bool
    due_at: float
    tries: int
    attempt_id: str | None
    attempt_started_at: float | None
    attempt_revision: int | None
    options: Mapping[str, Any]
    reason: str
    folded_into: str | None = None

    @property
    def is_readable(self) -> bool:
        """Whether it can be told how the card is to be shown."""
        return self.options is not UNREADABLE


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot to open; `options` are the route's wishes (`mention`, `updates`, `locale`, `timezone`).

    What is `folded_into` a digest (its key) is shown there, and stands nowhere else.
    """

    destination: str
    slot: str
    options: Mapping[str, Any]
    folded_into: str | None = None


@dataclass(frozen=True, slots=True)
class DestinationLease:
    """A destination held by one worker; settling is conditional on `fence`.

    For `held_until`, here and with other leases, see `bot.ports.work.JobRecord`.
    """

    key: str
    label: str
    arrival: float
    fence: int
    held_until: float = 0.0


@dataclass(frozen=True, slots=True)
class Settlement:
    """What an attempt came to; `detail` are the platform's own words on a failure, without secrets.

    A card that `is_dead` lives where its end was wanted meanwhile, at a later revision than `spares_end_after`.
    `is_refused`: our credentials were, which says nothing of the card. What was wanted meanwhile is due by `news_by`,
    where that is before `due_at`.
    """

    card_id: int
    reason: str
    shown_revision: int | None = None
    shown_digest: str | None = None
    message_ref: str | None = None
    forget_ref: bool = False
    keep_attempt: bool = False
    due_at: float = 0.0
    news_by: float = math.inf
    tries: int = 0
    is_dead: bool = False
    is_refused: bool = False
    spares_end_after: int | None = None
    shown_final: bool | None = None
    detail: str = ""


class EventLog(Protocol):
    """The events as they came."""

    def add(self, event: Event, received_at: float) -> bool:
        """Store an event; False when its delivery is known already.

        Once it is stored nobody else stores one of the same project until the transaction ends.
        """
        ...

    def of_subject(self, key: str, limit: int) -> Sequence[tuple[str, float, float]]:
        """The newest events of a subject, oldest first: kind, occurred_at, received_at."""
        ...


class Subjects(Protocol):
    """The folded subjects."""

    def get(self, key: SubjectKey) -> SubjectRecord | None:
        """One subject."""
        ...

    def some(self, keys: Collection[str]) -> Sequence[SubjectRecord]:
        """Those of these subjects that there are, in no order; one whose row makes no sense is passed over."""
        ...

    def put(self, record: SubjectRecord, at: float) -> None:
        """Store a subject's new state."""
        ...

    def neighbours(self, record: SubjectRecord) -> tuple[SubjectRecord | None, SubjectRecord | None]:
        """The nearest finished runs of the same source, project and branch that started before and after this one.

        Of those that started at the same time the one with the lower number comes first.
        """
        ...

    def find(self, project: str, number: str) -> Sequence[SubjectRecord]:
        """Subjects that people may mean by `project#number`, of any source."""
        ...

    def newest(self, project: str | None, limit: int) -> Sequence[SubjectRecord]:
        """The newest subjects, of one project or of all, newest first."""
        ...

    def unreadable(self, project: str, limit: int) -> Sequence[str]:
        """The keys of those among the newest of a project that `newest` passes over, as text."""
        ...

    def silent(self, before: float, limit: int) -> Sequence[SubjectRecord]:
        """Open builds that nothing new was heard of since `before`, and that no job asks about, oldest first."""
        ...

    def heard(self, key: SubjectKey, at: float) -> None:
        """Note that something was heard of a subject that was nothing new."""
        ...


class Cards(Protocol):
    """What stands, or should stand, where."""

    def open(self, subject: str, revision: int, slots: Sequence[Slot], *, is_final: bool, at: float) -> None:
        """Open slots that are not open yet."""
        ...

    def want(
        self, subject: str, revision: int, *, is_final: bool, at: float, is_other_end: bool = False
    ) -> Sequence[Slot]:
        """Ask for the newest state at every open card of the subject; returns them.

        A final state is also asked for at cards that were given up after they had been shown, or for their content
        before, and one that differs from the final state before it (`is_other_end`) where that was shown.
        """
        ...

    def change(self, subject: str, destination: str, options: Mapping[str, Any]) -> None:
        """Give a subject's card at a destination other options."""
        ...

    def of_subject(self, subject: str) -> Sequence[CardRecord]:
        """All slots of a subject."""
        ...

    def forget(self, subject: str) -> None:
        """Drop all slots of a subject: its number now names another run."""
        ...

    def overdue_finals(self, before: float, limit: int, after: tuple[float, int] = (0.0, 0)) -> Sequence[CardRecord]:
        """Shown cards whose final state is wanted since before `before`, neither shown nor said; the oldest first."""
        ...


class Deliveries(Protocol):
    """The work that the cards ask for."""

    def next_ready_at(self) -> float | None:
        """When the next destination with wanted work is free; None when nothing is wanted."""
        ...

    def lease(
        self, now: float, until: float, limit: int, take: Callable[[str], bool] | None = None
    ) -> Sequence[DestinationLease]:
        """Take destinations that are free and have due work, the longest waiting first.

        `take` is asked with each one's `kin_of`; once it says no, no more of that kin are taken.
        """
        ...

    def due_cards(self, destination: str, now: float, limit: int) -> Sequence[CardRecord]:
        """A destination's due slots: cards before threads, new and final states before progress, oldest first."""
        ...

    def begin(self, card: CardRecord, attempt_id: str, operation: str, now: float) -> None:
        """Record that an attempt is about to be made; for a post it stays open on the card until settled."""
        ...

    def settle(self, lease: DestinationLease, attempt_id: str | None, settlement: Settlement, now: float) -> bool:
        """Record what came of an attempt; False (and no change) when the lease was lost."""
        ...

    def hurry(self, account: str, at: float, *, leaves_out: bool = True) -> None:
        """Let what failed at the places of an account (`slack:T024`) not wait: due now, or at `at` where in doubt.

        With `leaves_out`, remarks that ends are late are not sent any more: what was late is shown in its turn now.
        """
        ...


class Transaction(Protocol):
    """What can be done within one transaction."""

    @property
    def events(self) -> EventLog: ...
    @property
    def subjects(self) -> Subjects: ...
    @property
    def cards(self) -> Cards: ...
    @property
    def deliveries(self) -> Deliveries: ...
    @property
    def pacing(self) -> Pacing: ...
    @property
    def budgets(self) -> Budgets: ...
    @property
    def jobs(self) -> Jobs: ...
    @property
    def commands(self) -> Commands: ...
    @property
    def deployments(self) -> Deployments: ...
    @property
    def locks(self) -> Locks: ...
    @property
    def places(self) -> Places: ...
    @property
    def subscriptions(self) -> Subscriptions: ...
    @property
    def noise(self) -> Noise: ...
    @property
    def retention(self) -> Retention: ...
    @property
    def audit(self) -> AuditTrail: ...
    @property
    def inspection(self) -> Inspection: ...
    @property
    def tracker_tasks(self) -> TrackerTasks: ...
    @property
    def polls(self) -> Polls: ...
    @property
    def tokens(self) -> Tokens: ...
    @property
    def accounts(self) -> Accounts: ...
    @property
    def joining(self) -> Joining: ...
