"""What may keep a queued deployment from beginning, asked at the moment when it would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from bot.domain.commands import Actor
from bot.domain.deciding import TOO_OLD, strike, with_time
from bot.domain.deployments import ACTIVE, ASKED, Approval, Deployment, DeploymentState, Version, move
from bot.domain.services import Target
from bot.domain.windows import Closed, closed
from bot.errors import Conflict, IntegrationError
from bot.ports import Transaction
from bot.services.deployments.judging import REST_S, context_of, permission_to, turn_of
from bot.services.deployments.learning import Learning
from bot.services.deployments.records import Cause, Records
from bot.services.deployments.requests import Requests
from bot.services.deployments.versions import Brought
from bot.services.people import PARTED_COUNTS_S
from bot.services.verification import MOST_AT_ONCE, Verification
from bot.telemetry import logger

QUEUE_S = 7 * 86_400.0
APPROVAL_S = 7 * 86_400.0  # how long an approval counts; longer where people have longer to give one
UNKNOWN = "approvers_unknown"  # what is held back by the directories of its own people holds up nobody else
LONGEST_REST_S = 3600.0
RECHECK = Cause("recheck")


log = logger(__name__)


@dataclass(frozen=True, slots=True)
class Held:
    """Why one may not begin yet: a word, a sentence, and when to look again."""

    outcome: str
    detail: str
    due_at: float


@dataclass(frozen=True, slots=True)
class Seen:
    """Those who approved, as their platforms know them now, and why some would not be let approve any more.

    `version` is what its pipeline may be told; None where its name means something else by now. `not_to_ask` is why who
    asked for it would not be let ask any more; empty for those who would. `brought` is what was learned of its commits,
    and with `is_unshown` that it is older than what is there, which could not be told when it was asked for.
    """

    actors: Sequence[Actor]
    refused: Mapping[str, str]
    version: Version | None
    not_to_ask: str = ""
    brought: Brought | None = None
    is_unshown: bool = False

    @property
    def void(self) -> str:
        """The outcome of a deployment that may not begin any more; empty where it may."""
        if self.not_to_ask:
            return "requester_refused"
        if self.version is None:
            return "version_moved"
        return "older_unshown" if self.is_unshown else ""


def held_at(tx: Transaction, deployment: Deployment, target: Target, now: float) -> Held | None:
    """What would keep a deployment from beginning at `now`: a lock, the calendar, another one."""
    is_rollback = deployment.rollback_of > 0
    locks = tx.locks.over(deployment.service, deployment.environment)
    if locks and not is_rollback:
        detail = "; ".join(f"{lock.name}: {lock.reason}" for lock in locks)
        return Held("locked", detail, now + REST_S)
    if not (is_rollback or deployment.terms.is_break_glass):
        shut = closed(target.windows, target.freezes, datetime.fromtimestamp(now, UTC))
        if shut is not None:
            until = shut.until.timestamp() if shut.until else now + QUEUE_S
            return Held(shut.reason, _until(shut), min(until, now + LONGEST_REST_S))
    line = (deployment.service, deployment.environment)
    active = tx.deployments.newest(*line, ACTIVE, 1)
    if active:
        return Held("busy", active[0].key.short, now + REST_S)
    queued = tx.deployments.newest(*line, frozenset({DeploymentState.QUEUED}), 100)
    ahead = [one for one in queued if turn_of(one) < turn_of(deployment) and one.outcome != UNKNOWN]
    return Held("turn", min(ahead, key=turn_of).key.short, now + REST_S) if ahead else None


def _until(shut: Closed) -> str:
    """What the calendar says, and when it lets one begin."""
    opens = f"{shut.until:%Y-%m-%d %H:%M %Z}" if shut.until else ""
    return " → ".join(part for part in (shut.detail, opens) if part)


class Gate:
    """Lets a deployment begin, or says what holds it back."""

    def __init__(self, records: Records, requests: Requests, verification: Verification) -> None:
        self._records = records
        self._requests = requests
        self._people = requests.people
        self._verification = verification
        self.learning = Learning(records, requests)

    def held(self, tx: Transaction, deployment: Deployment, target: Target) -> Held | None:
        """What is in its way in the database and on the calendar."""
        return held_at(tx, deployment, target, self._records.now())

    def obstacle(self, deployment: Deployment, target: Target) -> str | None:
        """What would keep the checks from telling anything; a rollback goes ahead without them."""
        if deployment.rollback_of or deployment.terms.is_break_glass:
            return None
        problems = self._verification.probe(target.checks, context_of(deployment))
        return "; ".join(problems)[:500] if problems else None

    def look(self, deployment: Deployment, target: Target) -> Seen:
        """Ask anew about who asked for it and who approved; IntegrationError where one that matters cannot be known."""
        roles = self._requests.demanded(deployment, target).terms.approvers or target.approvals.approvers
        with ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="look") as pool:  # side by side: a lease runs
            not_to_ask = pool.submit(self._not_to_ask, deployment, target)
            brought = pool.submit(self.learning.ask, deployment, target)
            version = pool.submit(self._version, deployment, target)
            actors = list(pool.map(self._known, deployment.approvals))
        where = (deployment.service, deployment.environment)
        decided = {actor.account: self._people.holds(actor, roles, *where) for actor in actors}
        refused = {account: decision.reason for account, decision in decided.items() if not decision.is_allowed}
        learned = brought.result()
        is_shown = deployment.undoes is not None or deployment.terms.is_break_glass or deployment.rollback_of > 0
        is_unshown = learned is not None and learned.is_back and not is_shown
        return Seen(actors, refused, version.result(), not_to_ask.result(), learned, is_unshown)

    def _known(self, one: Approval) -> Actor:
        """Who approved, with all that the platforms know of them now; IntegrationError where one does not answer."""
        return self._people.whole(self._people.complete(Actor(one.account, one.name)))

    def _not_to_ask(self, deployment: Deployment, target: Target) -> str:
        """Why its requester may ask for it no more; what issues and policies ask for goes by rules of their own.

        A way back was judged when it was confirmed, and waits for nobody's directory.
        """
        if deployment.origin != ASKED:
            return ""
        try:
            asked = deployment.requester
            actor = self._people.whole(self._people.complete(Actor(asked.account, asked.name)))
            where = (deployment.service, deployment.environment)
            decision = self._people.decide(actor, permission_to(deployment.kind), *where)
            if decision.is_allowed and deployment.terms.is_break_glass:
                decision = self._people.holds(actor, target.break_glass, *where)
        except IntegrationError:
            if deployment.rollback_of:
                return ""
            raise
        return "" if decision.is_allowed else decision.reason

    def ended(self, tx: Transaction, deployment: Deployment, seen: Seen) -> Deployment:
        """The deployment at the end of what may not begin any more; whose fault it is is on the trail."""
        detail = ""
        if seen.not_to_ask:
            detail = deployment.requester.name
            about = f"{deployment.key} {deployment.requester.account}"
            self._records.tell(tx, RECHECK, about, f"refused:{seen.not_to_ask}")
        return move(deployment, DeploymentState.CANCELLED, self._records.now(), outcome=seen.void, detail=detail)

    def _version(self, deployment: Deployment, target: Target) -> Version | None:
        """Its version, by its commit where its name has moved on since it was asked for."""
        try:
            return self._requests.exact(target, deployment.version, is_rollback=deployment.rollback_of > 0)
        except Conflict:
            return None
        except IntegrationError as problem:
            log.warning("builds not read, the version keeps its name", number=deployment.number, error=problem)
            return deployment.version

    def strike(self, tx: Transaction, deployment: Deployment, seen: Seen, target: Target) -> Deployment:
        """The deployment with those approvals alone that would be taken now; each one struck is on the trail.

        Where one was too old, more are demanded by now or the time for others is over, people have as long as at first.
        """
        now, since = self._records.now(), deployment.requested_at - PARTED_COUNTS_S
        for actor in seen.actors:
            self._people.note(tx, actor)
        requester = tx.accounts.same_person(deployment.requester.account, since)
        struck, counted = [], set[str]()
        for one in deployment.approvals:
            why = seen.refused.get(one.account, "")
            if one.account in requester:
                why = "is_requester"
            elif not why and tx.accounts.same_person(one.account, since) & counted:
                why = "counted_already"
            elif not why and now - one.at > max(APPROVAL_S, target.approvals.expires_s):
                why = TOO_OLD
            if why:
                struck.append(Approval(one.account, one.name, now, why))
                self._records.tell(tx, RECHECK, f"{deployment.key} {one.account}", f"refused:{why}")
            else:
                counted.add(one.account)
        asked = self._requests.demanded(deployment, target)
        exact = replace(self.learning.learned(asked, seen.brought), version=seen.version or deployment.version)
        is_over = now >= deployment.terms.expires_at or any(one.reason == TOO_OLD for one in struck)
        if asked.terms != deployment.terms or (struck and is_over):
            exact = with_time(exact, now + target.approvals.expires_s)
        return strike(exact, struck, now) if struck or not exact.is_approved else exact
