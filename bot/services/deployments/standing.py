"""What an environment has, what it had before, and what stands between the two: by when it happened, not by number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile

from bot.domain.deployments import ACTIVE, WAITING, Deployment, DeploymentState, Version
from bot.domain.services import Target
from bot.ports import Transaction

LOOKED_AT = 50  # deployments of one environment, the newest by number: those that waited longer are overtaken by these
_S = DeploymentState
_BEGAN = frozenset(DeploymentState) - WAITING - {_S.EXPIRED, _S.SUPERSEDED}


def good(tx: Transaction, service: str, environment: str) -> Sequence[Deployment]:
    """What succeeded there and was not rolled back, the latest success first."""
    found = tx.deployments.newest(service, environment, frozenset({_S.SUCCEEDED}), LOOKED_AT)
    return sorted(found, key=lambda one: (one.ended_at, one.number), reverse=True)


def good_version(tx: Transaction, service: str, environment: str) -> Version | None:
    """The version that last succeeded there and was not rolled back."""
    return next((one.version for one in good(tx, service, environment)), None)


def good_before(tx: Transaction, current: Deployment) -> Version | None:
    """The version that was good before `current`, which succeeded: the one to go back to."""
    when = (current.ended_at, current.number)
    earlier = (one for one in good(tx, current.service, current.environment) if (one.ended_at, one.number) < when)
    return next((one.version for one in earlier if not is_same(one.version, current.version)), None)


def good_once(tx: Transaction, service: str, environment: str, asked: Version) -> Version | None:
    """The version that is meant, where it was good in that environment: nothing else may be gone back to."""
    return next((one.version for one in good(tx, service, environment) if is_same(one.version, asked)), None)


def latest(tx: Transaction, service: str, environment: str) -> Deployment | None:
    """What began last there, whatever became of it."""
    return next(iter(_began(tx, service, environment)), None)


def overtaken_by(tx: Transaction, rollback: Deployment) -> Deployment | None:
    """What began there after the deployment that `rollback` undoes, and would be undone with it."""
    undone, last = tx.deployments.get(rollback.rollback_of), latest(tx, rollback.service, rollback.environment)
    if undone is None or last is None or _order(last) <= _order(undone):
        return None
    return last


def failed_there(tx: Transaction, service: str, environment: str) -> Deployment | None:
    """What failed there, changed something and was not brought back since; None where a good version is what runs.

    A way back that failed is no version of its own: what it could not undo is what stays.
    """
    for one in _began(tx, service, environment):
        if one.state in ACTIVE or not (one.run and one.run.request):  # nothing is known to have changed by it
            continue
        if one.state in (_S.FAILED, _S.ROLLBACK_FAILED) and not one.rollback_of:
            return one
        if one.state is not _S.FAILED:
            return None
    return None


def in_place_of(tx: Transaction, deployment: Deployment) -> Deployment:
    """The deployment with what is there at this moment as what it replaces: others may have ended while it waited."""
    if deployment.rollback_of:  # it replaces what it undoes, whatever that left behind
        return deployment
    previous = good_version(tx, deployment.service, deployment.environment)
    commit = previous.commit if previous else ""
    newer = takewhile(lambda change: not commit or change.commit != commit, deployment.changes)
    return replace(deployment, previous=previous, changes=tuple(newer))


def way_back(tx: Transaction, undone: Deployment, to: Version | None, target: Target) -> str:
    """Why a deployment cannot be undone by going back to `to`; empty where it can.

    All that changed the environment since `to` was good there is undone with it: none of that may be irreversible.
    """
    if to is None:
        return "no_previous"
    if is_same(to, undone.version):
        return "same_version"
    line = (undone.service, undone.environment)
    others = [one for one in good(tx, *line) if one.number != undone.number]
    since = next((one.ended_at for one in others if is_same(one.version, to)), 0.0)
    crossed = [undone, *(one for one in _began(tx, *line) if one.started_at >= since and one.number != undone.number)]
    titles = [change.title.lower() for one in crossed if one.run and one.run.request for change in one.changes]
    markers = [marker.lower() for marker in target.rollback.irreversible]
    return "irreversible" if any(marker in title for title in titles for marker in markers) else ""


def is_same(one: Version, other: Version) -> bool:
    """Whether two names mean one version: by their commits, where both are known."""
    return one.commit == other.commit if one.commit and other.commit else one.name == other.name


def _began(tx: Transaction, service: str, environment: str) -> Sequence[Deployment]:
    """What began there, the latest first."""
    found = [one for one in tx.deployments.newest(service, environment, _BEGAN, LOOKED_AT) if one.started_at]
    return sorted(found, key=_order, reverse=True)


def _order(deployment: Deployment) -> tuple[float, int]:
    return deployment.started_at, deployment.number
