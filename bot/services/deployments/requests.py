"""Asking for a deployment: by a line, a button, a tracker or the API. All end in the same request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from bot.domain.deciding import demand
from bot.domain.deployment_effects import is_older
from bot.domain.deployments import (
    ASKED,
    MOST_WHOLE,
    WAITING,
    Deployment,
    DeploymentKind,
    DeploymentState,
    Requester,
    Terms,
    Undoing,
    Version,
    bringing,
    move,
)
from bot.domain.services import ApprovalRule, Service, Target, WhenBusy
from bot.errors import CommandInvalid, Conflict
from bot.ports import Transaction
from bot.services.deployments.ending import Ending
from bot.services.deployments.judging import template_of
from bot.services.deployments.records import Cause, Records
from bot.services.deployments.standing import (
    MOST_NAMED,
    Overtaken,
    good_before,
    good_once,
    good_there,
    good_version,
    irreversible_since,
    is_good_before,
    is_marked,
    is_same,
    latest,
    overtaken,
    stands_there,
    to_undo,
    unclear,
    undone_by,
    way_back,
    way_back_to,
)
from bot.services.deployments.versions import LEARN_S, NOTHING, Brought, Versions
from bot.services.people import People

CONFIRM_S = 600.0
T = TypeVar("T")
_S = DeploymentState


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asks for, before it is looked up. `dedup_key` is the same for every delivery of one request.

    `version` is a word of the person's; empty for what the environment before has.
    """

    service: str
    environment: str
    requester: Requester
    dedup_key: str
    version: str = ""
    kind: DeploymentKind = DeploymentKind.DEPLOY
    origin: str = ASKED
    reason: str = ""
    issues: tuple[str, ...] = ()
    is_break_glass: bool = False
    is_confirmed: bool = False


@dataclass(frozen=True, slots=True)
class Proposal:
    """A wish that has been looked up: what would be deployed, in place of what.

    Of a version that is older than what is there, `lost` is what goes with it; `back_from` as in `Undoing`. It was
    built on `branch`.
    """

    wish: Wish
    target: Target
    version: Version
    lost: Brought | None = None
    brought: Brought = NOTHING
    branch: str = ""
    back_from: str = ""


class Requests:
    """Makes deployments out of wishes."""

    def __init__(
        self, records: Records, services: Mapping[str, Service], versions: Versions, ending: Ending, people: People
    ) -> None:
        self._records = records
        self.people = people
        self._services = dict(services)
        self._versions = versions
        self._ending = ending

    def service(self, name: str) -> Service:
        """A configured service; CommandInvalid (`unknown_service`) names those there are."""
        found = self._services.get(name)
        if found is None:
            raise CommandInvalid("unknown_service", ", ".join(sorted(self._services)) or None)
        return found

    def all(self) -> list[Service]:
        """Every configured service."""
        return list(self._services.values())

    def target(self, service: Service, environment: str) -> Target:
        """One of its environments, the only one where none is named; CommandInvalid names those there are."""
        if not environment and len(service.targets) == 1:
            return next(iter(service.targets.values()))
        found = service.targets.get(environment)
        if found is None:
            problem = "unknown_environment" if environment else "which_environment"
            raise CommandInvalid(problem, ", ".join(service.targets))
        return found

    def is_configured(self, deployment: Deployment) -> bool:
        """Whether its service and environment are still there."""
        service = self._services.get(deployment.service)
        return service is not None and deployment.environment in service.targets

    def demanded(self, deployment: Deployment, target: Target) -> Deployment:
        """The deployment with the approvals that the configuration demands by now, where that is more than before."""
        rule = self._rule(target)
        return demand(deployment, rule, self._called_for(rule.approvers, target))

    def propose(self, wish: Wish) -> Proposal:
        """Look a wish up, which may ask the CI system; raises CommandInvalid, Conflict or IntegrationError."""
        service = self.service(wish.service)
        target = self.target(service, wish.environment)
        found, branch = self._version(service, target, wish)
        version = self.exact(target, found)
        self.people.learn_names(self._called_for(target.approvals.approvers, target))
        line = (service.name, target.environment)
        current, there = self._records.store.read(lambda tx: (good_version(tx, *line), stands_there(tx, *line)))
        brought = self.bring(target, current, version)
        if there is None or is_same(version, there):
            return Proposal(wish, target, version, None, brought, branch)
        if is_older(version, there):
            return Proposal(wish, target, version, self.bring(target, version, there), brought, branch)
        told = brought if there == current else self.bring(target, there, version)
        if not told.is_back:
            return Proposal(wish, target, version, None, brought, branch)
        lost = self.bring(target, version, there, by_builds=False)
        return Proposal(wish, target, version, lost, brought, branch, there.build)

    def bring(self, target: Target, old: Version | None, new: Version, *, by_builds: bool = True) -> Brought:
        """What `new` brings in place of `old`; of what came on other branches only what could not be undone."""
        brought = self._versions.between(self.service(target.service), old, new, by_builds=by_builds)
        aside = tuple(change for change in brought.aside if is_marked(change, target))[:MOST_WHOLE]
        return replace(brought, aside=aside)

    def exact(self, target: Target, version: Version, *, is_rollback: bool = False) -> Version:
        """The version as its pipeline can be told it without being told what moves on; Conflict where it cannot.

        What is brought back is never refused.
        """
        if not template_of(target, is_rollback=is_rollback).is_told_names_alone:
            return version
        try:
            return self._versions.pinned(self.service(target.service), version)
        except Conflict:
            if is_rollback:
                return version
            raise

    def propose_rollback(self, wish: Wish, number: int = 0) -> tuple[Proposal, int]:
        """The way back from what was last deployed, and its number; Conflict where there is none.

        With a `number` only where that is what was last deployed, or a way back that did not lead away from it.
        """
        service = self.service(wish.service)
        target = self.target(service, wish.environment)
        line = (service.name, target.environment)
        self._must_be_clear(*line)
        last, undone = self._records.store.read(lambda tx: (latest(tx, *line), to_undo(tx, *line)))
        if undone is None or last is None:
            raise Conflict("Nothing was deployed there yet.")
        if number not in (0, undone.number, last.number):
            raise _overtaken(f"{service.name}#{number}", undone)
        _must_be_at_rest(undone)
        if wish.version:
            asked = self._versions.resolve(service, wish.version)
            version = self._records.store.read(lambda tx: good_once(tx, *line, asked))
            if version is None:
                raise Conflict(
                    "{version} was never good in {environment}: deploy it instead.",
                    version=asked.name,
                    environment=target.environment,
                )
        elif undone.state is _S.SUCCEEDED:
            version = self._records.store.read(lambda tx: good_before(tx, undone))
        else:
            version = self._records.store.read(lambda tx: good_version(tx, *line))
        if version is None:
            raise Conflict("There is no earlier version to go back to.")
        self._records.store.read(lambda tx: self._must_lead_back(tx, undone, version, target))
        exact = self.exact(target, version, is_rollback=True)
        return Proposal(replace(wish, kind=DeploymentKind.ROLLBACK), target, exact), undone.number

    def _must_be_clear(self, service: str, environment: str) -> None:
        if number := self._records.store.read(lambda tx: unclear(tx, service, environment)):
            raise Conflict(
                "{deployment} cannot be read, and may be what stands in {environment}: say which version to deploy.",
                deployment=f"{service}#{number}",
                environment=environment,
            )

    def _must_lead_back(self, tx: Transaction, undone: Deployment, to: Version, target: Target) -> None:
        why = way_back(tx, undone, to, target)
        if why == "irreversible":
            raise Conflict("{deployment} made a change that cannot be undone: go forward.", deployment=undone.key.short)
        if why == "same_version" and undone.state is _S.SUCCEEDED:
            raise Conflict("There is no earlier version to go back to.")

    def _must_still_lead_back(self, tx: Transaction, rollback: Deployment, target: Target) -> None:
        """What was previewed is looked at again: something else may have been deployed, or rolled back, meanwhile."""
        undone = to_undo(tx, rollback.service, rollback.environment)
        if undone is None or undone.number != rollback.rollback_of:
            raise _overtaken(f"{rollback.service}#{rollback.rollback_of}", undone)
        _must_be_at_rest(undone)
        self._must_lead_back(tx, undone, rollback.version, target)

    def file(self, tx: Transaction, proposal: Proposal, cause: Cause, *, rollback_of: int = 0) -> Deployment | None:
        """Store the deployment that a proposal makes; None where it was asked for already.

        One that needs no confirmation goes on at once.
        """
        wish, target = proposal.wish, proposal.target
        tx.deployments.hold_line(target.service, target.environment)
        deployment = self._draft(tx, proposal, rollback_of)
        due_at = deployment.requested_at + CONFIRM_S
        added = self._records.add(tx, deployment, cause, dedup_key=wish.dedup_key, due_at=due_at)
        if added is not None and (wish.is_confirmed or not target.needs_confirmation):
            return self.go_on(tx, added, target, cause)
        return added

    def rehearse(self, proposal: Proposal, look: Callable[[Transaction, Deployment], T]) -> T:
        """Look at the deployment that a proposal would make, which is not stored; Conflict where it may not be."""
        return self._records.store.read(lambda tx: look(tx, self._draft(tx, proposal, 0)))

    def _draft(self, tx: Transaction, proposal: Proposal, rollback_of: int) -> Deployment:
        """The deployment that a proposal makes, judged by what is there; Conflict where it may not be."""
        wish, target, brought, now = proposal.wish, proposal.target, proposal.brought, self._records.now()
        undone = tx.deployments.get(rollback_of) if rollback_of else None
        previous = undone.version if undone else way_back_to(tx, target.service, target.environment)
        is_free = bool(rollback_of) or wish.is_break_glass
        if not (is_free or is_good_before(tx, proposal.version, target)):
            raise _too_early(proposal.version, target.after)
        undoes = None if rollback_of else self._undoing(tx, proposal)
        needed, approvers = (0, ()) if is_free else (target.approvals.needed, self._rule(target).approvers)
        deployment = Deployment(
            0,
            target.service,
            target.environment,
            proposal.version,
            wish.requester,
            now,
            kind=wish.kind,
            origin=wish.origin,
            reason=wish.reason,
            state_since=now,
            previous=previous,
            terms=Terms(needed, approvers, self._called_for(approvers, target), now + CONFIRM_S, wish.is_break_glass),
            aside=brought.aside,
            changes_known=brought.is_known,
            issues=tuple(dict.fromkeys((*wish.issues, *(key for change in brought.changes for key in change.issues)))),
            rollback_of=rollback_of,
            learn_at=now + LEARN_S if brought.may_be_learned else 0.0,
            branch=proposal.branch,
        )
        deployment = bringing(deployment, brought.changes)
        if rollback_of:
            undoes = undone_by(tx, deployment)
        return replace(deployment, undoes=undoes)

    def _rule(self, target: Target) -> ApprovalRule:
        """Its approvals, of those roles alone that cover it, for people read their names; of all where none does."""
        named = target.approvals.approvers
        there = self.people.covering(named, target.service, target.environment)
        return replace(target.approvals, approvers=there or named)

    def _called_for(self, approvers: Sequence[str], target: Target) -> tuple[str, ...]:
        return self.people.called_for(approvers, target.service, target.environment)

    def _undoing(self, tx: Transaction, proposal: Proposal) -> Undoing | None:
        """What a deployment of an older version takes away; Conflict where that cannot be undone, save by break-glass.

        None of one that takes nothing away.
        """
        target, version, lost = proposal.target, proposal.version, proposal.lost or NOTHING
        is_unclear = bool(proposal.back_from) and not lost.is_known
        came = irreversible_since(tx, target, version, is_unclear=is_unclear)
        titles = dict.fromkeys(one.title for one in (*lost.changes, *lost.aside, *came) if is_marked(one, target))
        if titles and not proposal.wish.is_break_glass:
            raise Conflict(
                "{version} is older than a change there that cannot be undone ({titles}): go forward.",
                version=version.name,
                titles="; ".join(titles)[:300],
            )
        if not titles and proposal.lost is None:
            return None
        issues = dict.fromkeys(key for change in lost.changes for key in change.issues)
        listed, count = lost.changes[:MOST_NAMED], len(lost.changes)
        marked = tuple(titles)[:MOST_NAMED]
        return Undoing(listed, count, tuple(issues), lost.is_known, marked, proposal.back_from)

    def go_on(self, tx: Transaction, requested: Deployment, target: Target, cause: Cause) -> Deployment:
        """Let a confirmed one wait for approval, or for its turn."""
        now = self._records.now()
        terms = requested.terms
        if requested.rollback_of:
            self._must_still_lead_back(tx, requested, target)
        elif why := overtaken(tx, requested, target):
            raise _not_as_shown(why, requested.version)
        if terms.approvals and not terms.is_break_glass:
            expires_at = now + target.approvals.expires_s
            asked = move(requested, _S.AWAITING_APPROVAL, now, terms=replace(terms, expires_at=expires_at))
            self._records.put(tx, asked, cause, due_at=now + target.approvals.expires_s / 2)
            after = asked
        else:
            after = move(requested, _S.QUEUED, now)
            self._records.put(tx, after, cause, due_at=now)
        if requested.rollback_of:
            self._ending.begin_restoring(tx, after, cause)
        if target.when_busy is WhenBusy.SUPERSEDE or requested.rollback_of:
            self._supersede(tx, after, cause)
        return after

    def _supersede(self, tx: Transaction, newer: Deployment, cause: Cause) -> None:
        """Those that have not begun give way to a newer one; what nobody has to agree to only to another such."""
        is_free = bool(newer.rollback_of) or newer.terms.is_break_glass
        for waiting in tx.deployments.newest(newer.service, newer.environment, frozenset(WAITING), 100):
            gives_way = not waiting.rollback_of and (is_free or not waiting.terms.is_break_glass)
            if waiting.number < newer.number and gives_way:
                ended = move(waiting, _S.SUPERSEDED, self._records.now(), outcome="superseded", detail=newer.key.short)
                self._records.put(tx, ended, cause, due_at=None)

    def _version(self, service: Service, target: Target, wish: Wish) -> tuple[Version, str]:
        if wish.version:
            return self._versions.find(service, wish.version)
        if not target.after:
            raise Conflict(
                "No environment comes before {environment}: say which version.", environment=target.environment
            )
        self._must_be_clear(service.name, target.after)
        before = self._records.store.read(lambda tx: good_there(tx, service.name, target.after))
        if before is None:
            raise Conflict("Nothing was deployed to {environment} yet.", environment=target.after)
        return before.version, before.branch


def _must_be_at_rest(undone: Deployment) -> None:
    if undone.state.is_active or undone.state is _S.ROLLING_BACK:
        raise Conflict("{deployment} is under way: wait for its end, or cancel it.", deployment=undone.key.short)


def _overtaken(name: str, by: Deployment | None) -> Conflict:
    return Conflict(
        "{deployment} is not what was deployed last there: {other} is.",
        deployment=name,
        other=by.key.short if by else "-",
    )


def _too_early(version: Version, environment: str) -> Conflict:
    return Conflict("{version} has to succeed in {environment} first.", version=version.name, environment=environment)


def _not_as_shown(why: Overtaken, version: Version) -> Conflict:
    """What is said to who confirms a preview that is not true any more."""
    if why.outcome == "not_good_before":
        return _too_early(version, why.about)
    if why.outcome == "went_wrong":
        return Conflict(
            "{other} brought {version} there after this was asked for, and it went wrong: ask again, knowing that.",
            other=why.about,
            version=version.name,
        )
    return Conflict(
        "{other} brought something newer there after this was asked for: ask again, to see what it changes.",
        other=why.about,
    )
