"""A deployment's next snapshot, its audit entry and its cards: always together, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bot.domain.audit import AuditEntry
from bot.domain.builds import Phase
from bot.domain.commands import SPECS, CommandLine, Target
from bot.domain.deployment_lines import NumberLine, parse_number
from bot.domain.deployments import Deployment, DeploymentState
from bot.domain.folding import Folded
from bot.errors import CommandInvalid
from bot.ports import Clock, Slot, Store, SubjectRecord, Transaction
from bot.services.router import Router, slots_of, thread_slots
from bot.services.signal import Signal
from bot.services.telling import Tidings
from bot.telemetry import DEPLOYMENTS

SYSTEM_ACTOR = "shipmate"
BREAK_GLASS = "break_glass"
_BREAKING = frozenset({"deploy", "confirm", "start"})  # who breaks the glass, and when it is done
_UNTIL_IT_CHANGES = frozenset({DeploymentState.REQUESTED, DeploymentState.QUEUED, DeploymentState.DEPLOYING})


@dataclass(frozen=True, slots=True)
class Cause:
    """Who did what to a deployment, and why, for the trail: an account, or Shipmate itself; `via` is a command's."""

    verb: str
    actor: str = SYSTEM_ACTOR
    via: str = ""
    command_id: str = ""
    reason: str = ""


class Records:
    """Stores what became of deployments."""

    def __init__(self, store: Store, clock: Clock, router: Router, signal: Signal, tidings: Tidings) -> None:
        self._tidings = tidings
        self.store = store
        self._clock = clock
        self._router = router
        self._signal = signal

    def now(self) -> float:
        """Seconds since 1970."""
        return self._clock.now().timestamp()

    def timezone_of(self, place: str) -> str:
        """The zone of the people at a place."""
        settings = self.store.read(lambda tx: self._router.settings_of(tx, place))
        return settings.timezone if settings else "UTC"

    def ring(self) -> None:
        """Wake who shows cards and takes steps."""
        self._signal.ring()

    def add(
        self, tx: Transaction, deployment: Deployment, cause: Cause, *, dedup_key: str, due_at: float
    ) -> Deployment | None:
        """Store a new one; None where it was asked for already."""
        added = tx.deployments.add(deployment, dedup_key=dedup_key, due_at=due_at)
        if added is not None:
            self._record(tx, added, cause)
        return added

    def put(self, tx: Transaction, after: Deployment, cause: Cause, *, due_at: float | None) -> None:
        """Store the next snapshot of one that is known."""
        tx.deployments.put(after, due_at=due_at)
        self._record(tx, after, cause)

    def progress(self, tx: Transaction, after: Deployment, *, due_at: float | None) -> None:
        """Store what is newly known of one in the same state: for its cards, nothing for the trail."""
        tx.deployments.put(after, due_at=due_at)
        self._show(tx, after)

    def tell(self, tx: Transaction, cause: Cause, target: str, outcome: str) -> None:
        """Put on the trail what somebody did, or was refused."""
        entry = AuditEntry(self.now(), cause.actor, cause.verb, target[:400], outcome[:80], cause.via, cause.command_id)
        tx.audit.append(entry)

    def _record(self, tx: Transaction, deployment: Deployment, cause: Cause) -> None:
        word, reason = deployment.outcome, cause.reason
        is_broken = deployment.terms.is_break_glass and deployment.state in _UNTIL_IT_CHANGES
        if is_broken and cause.verb in _BREAKING:
            word, reason = word or BREAK_GLASS, deployment.reason
        what = f"{deployment.key} {deployment.version.name} → {deployment.environment}"
        outcome = deployment.state.value + (f":{word}" if word else "")
        self.tell(tx, cause, f"{what} because {reason}" if reason else what, outcome)
        DEPLOYMENTS.labels(deployment.state.value).inc()
        self._tidings.deployment(tx, deployment)
        self._show(tx, deployment)

    def _show(self, tx: Transaction, deployment: Deployment) -> None:
        """Want its newest state at every card of it, and open those that its routes ask for."""
        if deployment.state is DeploymentState.REQUESTED:  # known to who asked, until it is confirmed
            return
        if deployment.state.is_ended and tx.subjects.get(deployment.key) is None:  # it never was confirmed
            return
        at, subject = self.now(), str(deployment.key)
        record = subject_of(deployment)
        tx.subjects.put(record, at)
        is_final = deployment.state.is_ended
        standing = tx.cards.want(subject, record.revision, is_final=is_final, at=at)
        slots: Sequence[Slot] = slots_of(self._router.openings(tx, deployment), deployment)
        if standing:
            options = {card.destination: card.options for card in standing}
            slots = [slot for slot in slots if slot.destination not in options]
            slots += [slot for place, wish in options.items() for slot in thread_slots(place, wish, deployment)]
        tx.cards.open(subject, record.revision, slots, is_final=is_final, at=at)


def named(tx: Transaction, about: NumberLine) -> Deployment:
    """The deployment that a person means; CommandInvalid where there is none of that number, or not of that service."""
    known = tx.deployments.get(about.number)
    if known is None or about.service not in ("", known.service):
        raise CommandInvalid("unknown_deployment", f"{about.service}#{about.number}")
    return known


def asked_about(tx: Transaction, line: CommandLine) -> str:
    """What a command is about, for the trail: the deployment that it names, or the words that ask for one."""
    if SPECS[line.verb].target is not Target.DEPLOYMENT:
        return " ".join(line.arguments)
    known = named(tx, parse_number(line.arguments, ""))
    return f"{known.key} {known.environment}"


def subject_of(deployment: Deployment) -> SubjectRecord:
    """What its cards are made from."""
    phase = Phase.FINISHED if deployment.state.is_ended else Phase.RUNNING
    values = {"status": deployment.state.value, "deployment": deployment.to_json()}
    folded = Folded(0, 1, phase, deployment.requested_at, values)
    return SubjectRecord(deployment.key, folded, deployment.revision)
