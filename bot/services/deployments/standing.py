"""What an environment has, what it had before, and what stands between the two: by when it happened, not by number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from bot.domain.deployment_effects import has_changed, is_older
from bot.domain.deployments import (
    ACTIVE,
    FAILED_STATES,
    WAITING,
    Change,
    Deployment,
    DeploymentState,
    Undoing,
    Version,
    bringing,
)
from bot.domain.services import Target
from bot.ports import Transaction

MOST_NAMED = 30  # commits that a rollback names
LOOKED_AT = 50  # deployments of one environment, the newest by number: those that waited longer are overtaken by these
_A_MOMENT_S = 0.001
ORDER_LOOKED_AT = 200  # deployments of the environment before: it may be deployed to far more often
_S = DeploymentState
_BEGAN = frozenset(DeploymentState) - WAITING - {_S.EXPIRED, _S.SUPERSEDED}
_JUDGED = FAILED_STATES | {_S.SUCCEEDED}


@dataclass(frozen=True, slots=True)
class Overtaken:
    """Why what waits may not begin any more: an outcome, and what it is about (a deployment, or an environment)."""

    outcome: str
    about: str


def succeeded(tx: Transaction, service: str, environment: str) -> Sequence[Deployment]:
    """What succeeded there and was not rolled back, the latest success first."""
    found = tx.deployments.newest(service, environment, frozenset({_S.SUCCEEDED}), LOOKED_AT)
    return sorted(found, key=_ended, reverse=True)


def good(tx: Transaction, service: str, environment: str, limit: int = LOOKED_AT) -> Sequence[Deployment]:
    """The same without those whose version went wrong there later: its latest deployment failed or was rolled back.

    A way back that failed says nothing of the version that it was to bring: it may be tried again.
    """
    found = tx.deployments.newest(service, environment, _JUDGED, limit)
    told = [one for one in found if has_changed(one) and not _is_lost_way_back(one)]
    judged = sorted(told, key=_order, reverse=True)
    last = {one.number: next(other for other in judged if is_same(other.version, one.version)) for one in judged}
    kept = [one for one in judged if _S.SUCCEEDED is one.state is last[one.number].state]
    return sorted(kept, key=_ended, reverse=True)


def good_version(tx: Transaction, service: str, environment: str) -> Version | None:
    """The version that last succeeded there and was not rolled back."""
    there = good_there(tx, service, environment)
    return there.version if there is not None else None


def unclear(tx: Transaction, service: str, environment: str) -> int:
    """The number of the newest deployment there that cannot be read: it may be what stands there; 0 for none."""
    return next(iter(tx.deployments.unreadable(service, environment, _BEGAN, LOOKED_AT)), 0)


def way_back_to(tx: Transaction, service: str, environment: str) -> Version | None:
    """The version to go back to when another one fails there; None also where that is unclear."""
    return None if unclear(tx, service, environment) else good_version(tx, service, environment)


def good_there(tx: Transaction, service: str, environment: str) -> Deployment | None:
    """The deployment that brought `good_version`."""
    return next(iter(good(tx, service, environment)), None)


def good_before(tx: Transaction, current: Deployment) -> Version | None:
    """The version that was good before `current`, which succeeded: the one to go back to."""
    earlier = (one for one in good(tx, current.service, current.environment) if _ended(one) < _ended(current))
    return next((one.version for one in earlier if not is_same(one.version, current.version)), None)


def good_once(tx: Transaction, service: str, environment: str, asked: Version) -> Version | None:
    """The version that is meant, where it was good in that environment: nothing else may be gone back to."""
    return next((one.version for one in good(tx, service, environment) if is_same(one.version, asked)), None)


def stands_there(tx: Transaction, service: str, environment: str) -> Version | None:
    """The version that runs there: what went wrong last and was not brought back, else what is good."""
    wrong = wrong_there(tx, service, environment)
    return wrong[0].version if wrong else good_version(tx, service, environment)


def latest(tx: Transaction, service: str, environment: str) -> Deployment | None:
    """What was deployed last there, or is being deployed, whatever became of it."""
    return next(iter(_began(tx, service, environment)), None)


def to_undo(tx: Transaction, service: str, environment: str) -> Deployment | None:
    """What a way back would undo: what was deployed last there; of a way back that failed, what it could not undo."""
    found = latest(tx, service, environment)
    while found is not None and found.rollback_of and found.state in (_S.FAILED, _S.CANCELLED):
        lost = tx.deployments.get(found.rollback_of)
        if lost is None or lost.state not in (_S.ROLLBACK_FAILED, _S.ROLLING_BACK, _S.CANCELLED):
            break
        found = lost
    return found


def begins_at(tx: Transaction, deployment: Deployment, now: float) -> float:
    """When it counts as begun: behind all that was there before, also by a clock that was set back since."""
    began = _began(tx, deployment.service, deployment.environment)
    last = max((at for one in began for at in (one.started_at, one.ended_at)), default=now)
    return now if last <= now else last + _A_MOMENT_S


def overtaken_by(tx: Transaction, rollback: Deployment) -> Deployment | None:
    """What began there after the deployment that `rollback` undoes, and would be undone with it."""
    undone, last = tx.deployments.get(rollback.rollback_of), to_undo(tx, rollback.service, rollback.environment)
    if undone is None or last is None or _order(last) <= _order(undone):
        return None
    return last


def overtaken(tx: Transaction, waiting: Deployment, target: Target) -> Overtaken | None:
    """What is in the way of one that would begin now, and was not when it was asked for; None where nothing is."""
    if waiting.rollback_of:
        last = overtaken_by(tx, waiting)
        return Overtaken("overtaken", last.key.short) if last else None
    if found := outdated(tx, waiting, target):
        return found
    if waiting.terms.is_break_glass or is_good_before(tx, waiting.version, target):
        return None
    return Overtaken("not_good_before", target.after)


def outdated(tx: Transaction, waiting: Deployment, target: Target) -> Overtaken | None:
    """What was deployed there after a waiting one was asked for, and speaks against it: nobody was shown that."""
    if waiting.rollback_of:
        return None
    if newer := _newer_there(tx, waiting, target):
        return Overtaken("outdated", newer.key.short)
    if failed := _failed_since(tx, waiting):
        return Overtaken("went_wrong", failed.key.short)
    return None


def is_good_before(tx: Transaction, version: Version, target: Target) -> bool:
    """Whether a version is good in the environment that it must have succeeded in before, if there is one."""
    if not target.after:
        return True
    return any(is_same(one.version, version) for one in good(tx, target.service, target.after, ORDER_LOOKED_AT))


def _newer_there(tx: Transaction, waiting: Deployment, target: Target) -> Deployment | None:
    """What is newer than a waiting one, and would be undone by it without anybody's having been shown that.

    That is what stands there now in place of what was shown, or a change that cannot be undone, also where it failed.
    """
    line, shown = (waiting.service, waiting.environment), waiting.previous
    current = next(iter(good(tx, *line)), None)
    is_told_older = waiting.undoes is not None and waiting.undoes.back_from != ""  # its number says nothing
    is_shown = current is not None and shown is not None and is_same(current.version, shown)
    if current is not None and not is_shown and (is_told_older or _is_newer(current, waiting)):
        return current
    since = (one for one in _began(tx, *line) if _is_since(waiting, one, one.started_at) and _is_newer(one, waiting))
    return next((one for one in since if _is_irreversible([one], target)), None)


def _failed_since(tx: Transaction, waiting: Deployment) -> Deployment | None:
    """What brought the version of a waiting one, and failed after that was asked for.

    A rollback by hand ends what was asked for before it by itself; one that failed says nothing of its version.
    """
    began = _began(tx, waiting.service, waiting.environment)
    failed = (one for one in began if one.state in FAILED_STATES and one.undone_from is not _S.SUCCEEDED)
    since = (one for one in failed if _is_since(waiting, one, one.ended_at) and not _is_lost_way_back(one))
    return next((one for one in since if is_same(one.version, waiting.version)), None)


def wrong_there(tx: Transaction, service: str, environment: str) -> Sequence[Deployment]:
    """What changed something there and was not brought back since: what was stopped half way, and what failed before.

    The latest first, at most one of each; none where a good version is what runs. A way back that came to nothing is no
    version of its own: what it could not undo is what stays.
    """
    stopped: list[Deployment] = []
    for one in _began(tx, service, environment):
        if one.state in ACTIVE:  # what becomes of it is not known
            continue
        if one.rollback_of and one.state in (_S.FAILED, _S.CANCELLED):
            continue
        if one.state is not _S.CANCELLED:
            return [*stopped, one] if one.state in (_S.FAILED, _S.ROLLBACK_FAILED) else stopped
        stopped = stopped or [one]
    return stopped


def went_wrong(tx: Transaction, service: str, environment: str, version: Version) -> Deployment | None:
    """The latest deployment of a version there, where that went wrong: who deploys it once more should know."""
    found = tx.deployments.newest(service, environment, _JUDGED, LOOKED_AT)
    same = [one for one in found if has_changed(one) and is_same(one.version, version) and not _is_lost_way_back(one)]
    last = max(same, key=_order, default=None)
    return last if last is not None and last.state is not _S.SUCCEEDED else None


def well_until(tx: Transaction, deployment: Deployment) -> float:
    """When the time before a deployment ended that says how a good version does: nothing was wrong there until then.

    That is when it began itself; where it undoes or follows what went wrong, when the first of that began.
    """
    until = deployment.started_at
    for one in _began(tx, deployment.service, deployment.environment):
        if _order(one) < _order(deployment):
            if one.state is _S.SUCCEEDED:
                break
            until = one.started_at
    return until


def in_place_of(tx: Transaction, deployment: Deployment) -> Deployment:
    """The deployment with what is there at this moment as what it replaces: others may have ended while it waited."""
    if deployment.rollback_of:  # it replaces what it undoes, whatever that left behind
        return deployment
    line, since = (deployment.service, deployment.environment), deployment.requested_at
    previous, there = way_back_to(tx, *line), stands_there(tx, *line)
    told = deployment.undoes.back_from if deployment.undoes is not None else ""
    is_back = there is not None and (is_older(deployment.version, there) or told == there.build != "")
    if deployment.undoes and not (is_back or deployment.undoes.irreversible):  # what it would have undone is gone
        deployment = replace(deployment, undoes=None, changes_known=False)
    commit = previous.commit if previous else ""
    newer = takewhile(lambda change: not commit or change.commit != commit, deployment.brought)
    came = [one for one in good(tx, *line) if one.ended_at >= since]
    has_come = {change.commit for one in came for change in (*one.brought, *one.aside)}
    aside = tuple(change for change in deployment.aside if change.commit not in has_come)
    return bringing(replace(deployment, previous=previous, aside=aside), newer)


def way_back(tx: Transaction, undone: Deployment, to: Version | None, target: Target) -> str:
    """Why a deployment cannot be undone by going back to `to`; empty where it can.

    All that changed the environment since `to` was good there is undone with it: none of that may be irreversible.
    `commits_unknown` is for a person to decide.
    """
    if to is None:
        return "no_previous"
    if is_same(to, undone.version):
        return "same_version"
    crossed = _crossed(tx, undone, to)
    if _is_irreversible(crossed, target):
        return "irreversible"
    are_known = all(one.changes_known for one in crossed if has_changed(one))
    return "commits_unknown" if target.rollback.irreversible and not are_known else ""


def irreversible_since(tx: Transaction, target: Target, to: Version, *, is_unclear: bool = False) -> Sequence[Change]:
    """What cannot be undone, and came there with something newer since `to` was last good there.

    Where it is unclear how old `to` is, whatever came counts as newer.
    """
    line = (target.service, target.environment)
    since = next((one.ended_at for one in good(tx, *line) if is_same(one.version, to)), 0.0)
    came = [one for one in _began(tx, *line) if one.started_at >= since and not is_same(one.version, to)]
    newer = [one for one in came if is_unclear or is_older(to, one.version)]
    changes = [change for one in newer if has_changed(one) for change in (*one.brought, *one.aside)]
    return [change for change in changes if is_marked(change, target)]


def undone_by(tx: Transaction, rollback: Deployment) -> Undoing:
    """The commits that a way back takes away, the latest first, and the issues that they name.

    What was rolled back before, or failed and was followed by a success, is not there to be undone.
    """
    undone = tx.deployments.get(rollback.rollback_of)
    if undone is None:
        return Undoing(is_known=False)
    changed = [one for one in _crossed(tx, undone, rollback.version) if has_changed(one)]
    succeeded_at = max((one.started_at for one in changed if one.state is _S.SUCCEEDED), default=0.0)
    there = [
        one
        for one in changed
        if one.state is _S.SUCCEEDED or (one.state is not _S.ROLLED_BACK and one.started_at > succeeded_at)
    ]
    older = [one for one in there if not _is_newer(one, undone)]
    commits = {change.commit: change for one in older for change in one.brought}
    # what an older build replaced is gone, and with it the measure of what that one brought
    is_replaced = any(one.state is _S.SUCCEEDED and one not in older for one in there)
    issues = [key for one in older for change in one.brought for key in change.issues]
    issues += [key for one in older if one.further for key in one.issues]  # of those commits it is not said which
    return Undoing(
        tuple(commits.values())[:MOST_NAMED],
        len(commits),
        tuple(dict.fromkeys(issues)),
        is_known=not is_replaced and all(one.changes_known for one in older),
    )


def is_same(one: Version, other: Version) -> bool:
    """Whether two names mean one version: by their commits, where both are known."""
    return one.commit == other.commit if one.commit and other.commit else one.name == other.name


def undone_with(tx: Transaction, undone: Deployment, rollback: Deployment) -> Sequence[Deployment]:
    """What succeeded between the version that a rollback has brought back and what it undid: that is gone as well."""
    line, ends = (undone.service, undone.environment), (undone.number, rollback.number)
    before = (one for one in good(tx, *line) if one.number not in ends and is_same(one.version, rollback.version))
    since = next((one.ended_at for one in before), None)
    if since is None:
        return ()
    stood = [one for one in _began(tx, *line) if one.state is _S.SUCCEEDED and one.number not in ends]
    return [one for one in stood if since <= one.started_at < rollback.started_at]


def _began(tx: Transaction, service: str, environment: str) -> Sequence[Deployment]:
    """What began to change it, or is about to, the latest first; an order that never ran did not."""
    newest = tx.deployments.newest(service, environment, _BEGAN, LOOKED_AT)
    return sorted([one for one in newest if one.state in ACTIVE or has_changed(one)], key=_order, reverse=True)


def _crossed(tx: Transaction, undone: Deployment, to: Version) -> Sequence[Deployment]:
    """What is undone by going back to `to`: the deployment itself, and what began since that was last good there."""
    line = (undone.service, undone.environment)
    others = [one for one in good(tx, *line) if one.number != undone.number]
    since = next((one.ended_at for one in others if is_same(one.version, to)), 0.0)
    return [undone, *(one for one in _began(tx, *line) if one.started_at >= since and one.number != undone.number)]


def _is_irreversible(crossed: Sequence[Deployment], target: Target) -> bool:
    """Whether any of them changed what cannot be changed back."""
    changes = [change for one in crossed if has_changed(one) for change in (*one.brought, *one.aside)]
    return any(is_marked(change, target) for change in changes)


def is_marked(change: Change, target: Target) -> bool:
    """Whether the title of a commit says that it cannot be undone."""
    return any(marker.lower() in change.title.lower() for marker in target.rollback.irreversible)


def _is_lost_way_back(deployment: Deployment) -> bool:
    return deployment.rollback_of > 0 and deployment.state is _S.FAILED


def _is_since(waiting: Deployment, one: Deployment, at: float) -> bool:
    """Whether what counts as having happened to one `at` did after a waiting one was asked for; see `begins_at`."""
    return min(at, one.state_since) >= waiting.requested_at


def _is_newer(one: Deployment, other: Deployment) -> bool:
    """Whether its version was built later; where builds do not tell, whether it was asked for later."""
    if is_same(one.version, other.version) or is_older(one.version, other.version):
        return False
    return is_older(other.version, one.version) or one.number > other.number


def _ended(deployment: Deployment) -> tuple[float, int]:
    return deployment.ended_at, deployment.number


def _order(deployment: Deployment) -> tuple[float, int]:
    return deployment.started_at, deployment.number
