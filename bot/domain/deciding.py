"""What people decide about a deployment, and what becomes of their decisions: pure, as the state machine is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bot.domain.deployment_effects import ABANDONED
from bot.domain.deployments import CHECKS, Approval, Deployment, DeploymentState, move, note, too_late
from bot.domain.services import ApprovalRule
from bot.errors import Conflict

TOO_OLD = "too_old"  # why an approval was struck whose person may give another one
WITHDRAWN = "withdrawn"  # the outcome of what was rejected by who asked for it, from whichever account
ANSWER_S = 1800.0  # so long people have to say what becomes of one whose checks cannot tell
_OUT_OF_REACH = frozenset({"run_unseen", "run_unknown", "not_stopped"})


def approve(deployment: Deployment, approval: Approval, persons: frozenset[str]) -> Deployment:
    """With one more person's consent; `persons` are all accounts of the person who gives it.

    Conflict for the requester, for somebody who has agreed already, and where nothing waits for it, or not any more.
    """
    _must_wait(deployment)
    if approval.at >= deployment.terms.expires_at:  # whoever ends it is late
        raise Conflict("{deployment} was not approved in time. Ask for it again.", deployment=deployment.key.short)
    if deployment.requester.account in persons:
        raise Conflict("You asked for this deployment: somebody else must approve it.")
    if any(one.account in persons for one in deployment.approvals):
        raise Conflict("You have approved this already.")
    agreed = note(deployment, approvals=(*deployment.approvals, approval))
    if not agreed.is_approved:
        return agreed
    return move(agreed, DeploymentState.QUEUED, approval.at)


def revoke(deployment: Deployment, persons: frozenset[str], at: float, expires_s: float) -> Deployment:
    """Without the consent of one person, as long as nothing was started; people have until then to give another one.

    After the last moment for that they have `expires_s` anew.
    """
    kept = tuple(one for one in deployment.approvals if one.account not in persons)
    if len(kept) == len(deployment.approvals):
        raise Conflict("You have not approved this.")
    if deployment.state not in (DeploymentState.AWAITING_APPROVAL, DeploymentState.QUEUED):
        raise Conflict("It has started: an approval cannot be taken back any more.")
    fewer = note(deployment, approvals=kept)
    if deployment.state is DeploymentState.QUEUED and not fewer.is_approved:
        is_over = at >= deployment.terms.expires_at
        return _ask_again(with_time(fewer, at + expires_s) if is_over else fewer, at)
    return fewer


def with_time(deployment: Deployment, until: float) -> Deployment:
    """With as much time to approve it, if not more."""
    return replace(deployment, terms=replace(deployment.terms, expires_at=max(deployment.terms.expires_at, until)))


def demand(deployment: Deployment, rule: ApprovalRule, called: tuple[str, ...]) -> Deployment:
    """With the terms of a rule that demands more, or other approvers, than when it was asked for; `called` are told.

    What was demanded then is the least. A way back and break-glass need nobody's consent.
    """
    terms = deployment.terms
    needed, approvers = max(terms.approvals, rule.needed), rule.approvers or terms.approvers
    is_free = bool(deployment.rollback_of) or terms.is_break_glass or not needed
    if is_free or (needed, approvers) == (terms.approvals, terms.approvers):
        return deployment
    return replace(
        deployment,
        terms=replace(terms, approvals=needed, approvers=approvers, called=called if rule.approvers else terms.called),
    )


def strike(deployment: Deployment, struck: Sequence[Approval], at: float) -> Deployment:
    """Without approvals that would not be taken any more; it waits for others where there are too few."""
    accounts = {one.account for one in struck}
    kept = tuple(one for one in deployment.approvals if one.account not in accounts)
    fewer = note(deployment, approvals=kept, struck=(*deployment.struck, *struck))
    if deployment.state is DeploymentState.QUEUED and not fewer.is_approved:
        more = "more_approvals" if deployment.approvals else "approvals_needed"  # nobody was asked for one before
        return _ask_again(fewer, at, "approval_struck" if struck else more)
    return fewer


def reject(deployment: Deployment, rejection: Approval, persons: frozenset[str]) -> Deployment:
    """Ended before it was started, by a person who may decide or who asked for it; `persons` are all their accounts."""
    if not deployment.state.is_waiting:
        raise too_late(deployment)
    return move(
        deployment,
        DeploymentState.CANCELLED,
        rejection.at,
        outcome=WITHDRAWN if deployment.requester.account in persons else "rejected",
        detail=rejection.reason,
        rejection=rejection,
    )


def lacks_reason(deployment: Deployment) -> bool:
    """Whether somebody else than who asked for it rejected it, and did not say why."""
    no = deployment.rejection
    is_own = no is not None and (deployment.outcome == WITHDRAWN or no.account == deployment.requester.account)
    return no is not None and not no.reason and not is_own


def give_reason(deployment: Deployment, reason: str) -> Deployment:
    """A rejected one, with why; nothing else about it changes."""
    assert deployment.rejection is not None  # `lacks_reason` saw to that
    return note(deployment, detail=reason, rejection=replace(deployment.rejection, reason=reason))


def is_out_of_reach(deployment: Deployment) -> bool:
    """Whether people were asked to look at its run, because nobody here can see it, or stop it."""
    return deployment.state is DeploymentState.DEPLOYING and deployment.question in _OUT_OF_REACH


def stop(deployment: Deployment, by: str, at: float) -> Deployment:
    """With its run asked for its end; where that was asked before and its run is out of reach, at its own end."""
    if deployment.stop_asked_by and is_out_of_reach(deployment):
        return move(deployment, DeploymentState.FAILED, at, outcome=ABANDONED, detail=by)
    return note(deployment, stop_asked_by=by)


def about_checks(names: Sequence[str]) -> str:
    """The question about checks that cannot tell; empty where there are none."""
    return CHECKS + ",".join(names) if names else ""


def keep(deployment: Deployment, named: Sequence[str] = ()) -> Deployment:
    """With a person's word that what checks could not tell is in order: of those `named`, or of all it asks about.

    Conflict where it asks about none of them.
    """
    asked = deployment.asked_about
    answered = tuple(name for name in asked if not named or name in named)
    if deployment.state is not DeploymentState.VERIFYING or not answered:
        raise Conflict("{deployment} asks nothing at the moment.", deployment=deployment.key.short)
    left = [name for name in asked if name not in answered]
    return note(deployment, question=about_checks(left), kept=(*deployment.kept, *answered))


def _ask_again(deployment: Deployment, at: float, outcome: str = "") -> Deployment:
    """Waiting for approval once more, whatever held it back in the queue; people are called and reminded anew."""
    state = DeploymentState.AWAITING_APPROVAL
    was_asked = outcome != "approvals_needed"
    asked = replace(deployment, asked_again=deployment.asked_again + was_asked, reminded_at=0.0)
    return move(asked, state, at, outcome=outcome, question="", unseen_since=0.0, put_off_since=0.0)


def _must_wait(deployment: Deployment) -> None:
    if deployment.state is not DeploymentState.AWAITING_APPROVAL:
        raise Conflict("{deployment} waits for no approval.", deployment=deployment.key.short)
