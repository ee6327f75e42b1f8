"""What trackers tell, acted on: each change once, by the issue as it stands when it is acted on.

A change is stored before its sender is answered. A worker asks the tracker whether it still is as it was told; then the
deployment, the trail's entry and the end of the change are one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from bot.domain.audit import AuditEntry
from bot.domain.issues import ChangeKind, IssueChange
from bot.domain.retries import pause_s
from bot.domain.triggers import Firing, fired, may_fire, outdated
from bot.errors import AuthFailed, CommandInvalid, Conflict, DestinationGone, IntegrationError
from bot.i18n import translate
from bot.ports import Arrival, Clock, Store, Transaction, Writing
from bot.ports.tracking import TrackerTask
from bot.services.dead_letters import DeadLetters, Work
from bot.services.hands import Shares
from bot.services.presenters.issue import Refusal
from bot.services.presenters.replies import PROBLEMS
from bot.services.reporting import FAILURE, PREFIX, REPORT, Reporting
from bot.services.settling import Settling, held_for
from bot.services.signal import Signal
from bot.services.steps import LATE_UNTIL, late_noted
from bot.services.telling import UNKNOWN_KIND, Teller, remember_origin, remember_refusal
from bot.services.trackers import TrackerAccess, Trackers
from bot.services.writings import Followed, Known
from bot.telemetry import TRACKER_TASKS, logger

LEASE_S = 120.0
MOST_AGE_S = 86400.0
MOST_TRIES = 8
LEFT_PAUSE_S = 300.0
DRY_RUN = "dry_run"
CHANGES = frozenset(kind.value for kind in ChangeKind)

log = logger(__name__)


class Taken(StrEnum):
    """What became of a change that was told."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class Fired:
    """What a firing came to: a deployment's number, or why there is none (`reason`, and words for people).

    Of a dry run `version` is the one that was found, by its exact name.
    """

    number: int = 0
    reason: str = ""
    words: str = ""
    version: str = ""


class Triggers(Protocol):
    """What the deployments offer to trackers."""

    def propose(self, firing: Firing) -> object:
        """Look up what would be deployed, which may ask other systems; CommandInvalid, Conflict, IntegrationError."""
        ...

    def rehearse(self, firing: Firing, locale: str) -> Fired:
        """What asking for it would come to now, and what it would wait for, without doing it; raises as both do."""
        ...

    def fire(self, tx: Transaction, firing: Firing, proposal: object) -> Fired:
        """Ask for the deployment, once for each key of a firing; CommandInvalid or Conflict where it may not be."""
        ...


class ChangeInbox:
    """Stores what trackers tell, if any trigger may want it."""

    def __init__(self, store: Store, clock: Clock, trackers: Trackers, signal: Signal) -> None:
        self._store = store
        self._clock = clock
        self._trackers = trackers
        self._signal = signal

    def accept(self, tracker: str, changes: Sequence[IssueChange]) -> list[Taken]:
        """Store the changes that may fire something; StorageUnavailable when nothing could be stored."""
        return self.submit(tracker, changes).result()

    def submit(self, tracker: str, changes: Sequence[IssueChange]) -> Writing[list[Taken]]:
        """The same, without waiting for it; whoever asks for the result wakes those who act on the changes."""
        access = self._trackers.get(tracker)
        now = self._clock.now().timestamp()
        wanted = [
            access is not None
            and may_fire(access.triggers, change)
            and now - change.occurred_at.timestamp() <= MOST_AGE_S
            for change in changes
        ]
        if not any(wanted):
            return Followed(Known([Taken.IGNORED for _ in changes]), self._taken)

        def work(tx: Transaction) -> list[Taken]:
            return [
                _keep(tx, tracker, change, now) if is_wanted else Taken.IGNORED
                for change, is_wanted in zip(changes, wanted, strict=True)
            ]

        return Followed(self._store.submit(work, Arrival((), now)), self._taken)

    def _taken(self, taken: Sequence[Taken]) -> None:
        if Taken.ACCEPTED in taken:
            self._signal.ring()


class TrackerWorker:
    """Acts on what trackers told, and tells them, and systems that keep figures, what is to be told."""

    lease_s = LEASE_S

    def __init__(
        self,
        store: Store,
        clock: Clock,
        trackers: Trackers,
        triggers: Triggers,
        teller: Teller,
        signal: Signal,
        *,
        reporting: Reporting | None = None,
        letters: DeadLetters | None = None,
    ) -> None:
        self._settling = Settling.of(store)
        self._letters = letters or DeadLetters()
        self._reporting = reporting
        self._store = store
        self._clock = clock
        self._trackers = trackers
        self._triggers = triggers
        self._teller = teller
        self._signal = signal

    def claim(self, limit: int, shares: Shares | None = None) -> list[TrackerTask]:
        """Take up to `limit` pieces of due work; those with one tracker leave hands to those with others."""
        held_until, now = held_for(LEASE_S), self._now()

        def work(tx: Transaction) -> Sequence[TrackerTask]:
            return tx.tracker_tasks.lease(now, now + LEASE_S, limit, shares.taker() if shares else None)

        return [replace(task, held_until=held_until) for task in self._store.write(work, is_patient=False)]

    def kin_of(self, work: TrackerTask) -> str:
        """The tracker: it hangs as a whole."""
        return work.tracker

    def carry_out(self, task: TrackerTask) -> None:
        """Do one piece; end it, or put it off."""
        access = self._trackers.get(task.tracker)
        try:
            if task.kind in (REPORT, FAILURE) and self._reporting is not None:
                self._end(task, self._reporting.tell(task))
            elif access is None:
                self._leave(task, "not_configured")
            elif task.kind in CHANGES:
                self._act(task, access)
            else:
                self._tell(task, access)
        except IntegrationError as problem:
            self._after_failure(task, problem)

    def _tell(self, task: TrackerTask, access: TrackerAccess) -> None:
        outcome = self._teller.tell(task, access)
        if outcome == UNKNOWN_KIND:
            self._leave(task, "unknown_kind")
        else:
            self._end(task, outcome)

    def _leave(self, task: TrackerTask, reason: str) -> None:
        """Leave what this process does not know to one with a newer file or version, for a day."""
        if self._now() - task.created_at > MOST_AGE_S:
            log.error("work with a tracker dropped", tracker=task.tracker, key=task.key, reason=reason)
            self._end(task, f"dropped:{reason}")
        else:
            self._again(task, task.tries, LEFT_PAUSE_S, f"left:{reason}")

    def put_off(self, task: TrackerTask) -> None:
        """Count a try that ended in a mistake of ours; too many end the work."""
        tries = task.tries + 1
        if tries >= MOST_TRIES:
            log.error("work with a tracker given up", tracker=task.tracker, key=task.key, reason="unexpected")
            self._announce(task, "unexpected")
            self._end(task, "failed:unexpected")
        else:
            self._again(task, tries, pause_s(tries), "retry:unexpected")

    def _act(self, task: TrackerTask, access: TrackerAccess) -> None:
        change, reason = self._as_it_stands(IssueChange.from_json(task.body), access)
        if not reason and self._now() - change.occurred_at.timestamp() > MOST_AGE_S:
            reason = "too_old"
        reason = reason or self._told_anew(task, change)
        if reason:
            self._drop(task, change, reason)
            return
        firings = fired(access.triggers, change)
        proposals = [self._proposed(firing, access.locale) for firing in firings]

        def work(tx: Transaction) -> bool:
            if not tx.tracker_tasks.settle(task, "done" if firings else "dropped:no_trigger"):
                return False
            for firing, proposal in zip(firings, proposals, strict=True):
                self._fire(tx, firing, proposal, access)
            return True

        if self._settling.settle(task, work):
            TRACKER_TASKS.labels(task.tracker, task.kind, "done" if firings else "dropped").inc()
            self._signal.ring()

    def _proposed(self, firing: Firing, locale: str) -> Fired | object:
        """What a firing would deploy, or why nothing."""
        if firing.problem:
            return Fired(reason=firing.problem)
        is_dry = firing.trigger.is_dry_run
        try:
            return self._triggers.rehearse(firing, locale) if is_dry else self._triggers.propose(firing)
        except (CommandInvalid, Conflict) as problem:
            refused = _refused(problem, locale)
        except IntegrationError as problem:
            if problem.recoverable:
                raise
            refused = Fired(reason="refused", words=str(problem))
        return replace(refused, reason=f"{DRY_RUN}_{refused.reason}") if is_dry else refused

    def _fire(self, tx: Transaction, firing: Firing, proposal: Fired | object, access: TrackerAccess) -> None:
        """Ask for the deployment, and put on the trail what came of it."""
        result = proposal if isinstance(proposal, Fired) else self._asked(tx, firing, proposal, access.locale)
        trigger, at, version = firing.trigger, self._now(), result.version or firing.version
        outcome = f"accepted:{result.number}" if result.number else result.reason
        target = f"{firing.change.target} → {trigger.service} {version or '?'} → {trigger.environment}"
        account = firing.change.account or trigger.tracker
        tx.audit.append(AuditEntry(at, account, "trigger", target[:400], outcome[:80], trigger.name))
        log.info("trigger fired", trigger=trigger.name, issue=firing.change.target, outcome=outcome)
        if result.number:
            remember_origin(tx, result.number, firing, at)
        else:
            word = result.reason.partition(":")[0]
            refusal = Refusal(trigger.name, trigger.service, trigger.environment, version, word, result.words)
            remember_refusal(tx, firing, refusal, at)

    def _asked(self, tx: Transaction, firing: Firing, proposal: object, locale: str) -> Fired:
        try:
            return self._triggers.fire(tx, firing, proposal)
        except (CommandInvalid, Conflict) as problem:
            return _refused(problem, locale)

    def _as_it_stands(self, change: IssueChange, access: TrackerAccess) -> tuple[IssueChange, str]:
        """The change with what its tracker says now, and why it counts no more."""
        try:
            if change.issue is not None:
                issue = access.tracker.issue(change.issue.key)
                return replace(change, issue=issue), outdated(change, issue)
        except DestinationGone:
            return change, "issue_gone"
        if change.release is None or access.releases is None:
            return change, "nothing_to_look_at"
        release = access.releases.find(change.release)
        if release is None:
            return change, "version_gone"
        return replace(change, release=release), "" if release.is_released else "version_not_released"

    def _told_anew(self, task: TrackerTask, change: IssueChange) -> str:
        """Why a change counts no more beside others: the same happened to the same once more, and that is acted on."""
        since = self._now() - 2 * MOST_AGE_S  # nothing older was kept, or is acted on
        kept = self._settling.insist(
            task, lambda: self._store.read(lambda tx: tx.tracker_tasks.of_kind(task.tracker, task.kind, since))
        )
        others = (IssueChange.from_json(one) for one in kept)
        about = (change.target, change.project, change.value)
        is_old = any(
            (other.target, other.project, other.value) == about and other.occurred_at > change.occurred_at
            for other in others
        )
        return "told_anew" if is_old else ""

    def _drop(self, task: TrackerTask, change: IssueChange, reason: str) -> None:
        def work(tx: Transaction) -> None:
            if tx.tracker_tasks.settle(task, f"dropped:{reason}"):
                account = change.account or task.tracker
                entry = AuditEntry(self._now(), account, "trigger", change.target[:400], f"dropped:{reason}", task.key)
                tx.audit.append(entry)

        self._settling.settle(task, work)
        log.info("change dropped", tracker=task.tracker, issue=change.target, reason=reason)
        TRACKER_TASKS.labels(task.tracker, task.kind, "dropped").inc()

    def _after_failure(self, task: TrackerTask, problem: IntegrationError) -> None:
        """Try again while there is hope: a credential may be put right within a day."""
        tries = task.tries + 1
        is_hopeless = not (problem.recoverable or isinstance(problem, AuthFailed))
        if self._now() - task.created_at > MOST_AGE_S or (is_hopeless and tries >= 2):
            log.warning("work with a tracker given up", tracker=task.tracker, key=task.key, error=problem)
            self._announce(task, problem.reason)
            self._end(task, f"failed:{problem.reason}")
        else:
            log.info("work with a tracker put off", tracker=task.tracker, key=task.key, error=problem)
            may_come_s = late_noted(problem, 0.0).get(LATE_UNTIL, 0.0)  # until then a comment is not known by looking
            pause = max(pause_s(tries), problem.retry_after_s or 0.0, may_come_s)
            self._again(task, tries, pause, f"retry:{problem.reason}")

    def _announce(self, task: TrackerTask, reason: str) -> None:
        system, now = task.tracker.removeprefix(PREFIX), self._now()
        self._settling.settle(
            task, lambda tx: self._letters.announce_work(tx, Work.TRACKER, system, task.key, reason, now)
        )

    def _end(self, task: TrackerTask, outcome: str) -> None:
        self._settling.settle(task, lambda tx: tx.tracker_tasks.settle(task, outcome))
        TRACKER_TASKS.labels(task.tracker, task.kind, outcome.partition(":")[0]).inc()

    def _again(self, task: TrackerTask, tries: int, pause: float, outcome: str) -> None:
        due_at = self._now() + pause
        self._settling.settle(task, lambda tx: tx.tracker_tasks.settle(task, outcome, due_at=due_at, tries=tries))
        TRACKER_TASKS.labels(task.tracker, task.kind, "retry").inc()

    def _now(self) -> float:
        return self._clock.now().timestamp()


def _keep(tx: Transaction, tracker: str, change: IssueChange, now: float) -> Taken:
    is_new = tx.tracker_tasks.add(tracker, change.key, change.kind.value, change.to_json(), due_at=now, at=now)
    return Taken.ACCEPTED if is_new else Taken.DUPLICATE


def _refused(problem: CommandInvalid | Conflict, locale: str) -> Fired:
    """Why a deployment cannot be: a word for the trail, and a sentence for people."""
    if isinstance(problem, Conflict):
        return Fired(reason="refused:conflict", words=translate(locale, problem.sentence, **problem.values))
    words = translate(locale, PROBLEMS.get(problem.problem, problem.problem))
    words += f" {problem.suggestion}" if problem.suggestion else ""
    return Fired(reason=f"refused:{problem.problem}", words=words)
