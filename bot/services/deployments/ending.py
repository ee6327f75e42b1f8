"""What the end of a deployment brings with it: a rollback, a lock, the end of what it undoes, the next in line."""

from __future__ import annotations

from dataclasses import replace

from bot.domain.deployment_effects import BY_ITSELF, NOT_CONFIGURED, TOGETHER, has_changed, is_unseen, locks_by_hand
from bot.domain.deployments import (
    Deployment,
    DeploymentKind,
    DeploymentState,
    Requester,
    Terms,
    move,
    note,
)
from bot.domain.services import Target
from bot.ports import Transaction
from bot.ports.deploying import Lock
from bot.services.deployments.records import SYSTEM_ACTOR, Cause, Records
from bot.services.deployments.standing import outdated, undone_by, undone_with, way_back

_S = DeploymentState
_AGREED_ON = frozenset({_S.AWAITING_APPROVAL, _S.QUEUED})
_RESTORABLE = frozenset({_S.SUCCEEDED, _S.FAILED, _S.ROLLBACK_FAILED})


class Ending:
    """Ends deployments, in the transaction that stores their last state."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def end(self, tx: Transaction, ended: Deployment, target: Target | None, cause: Cause) -> None:
        """Store an ended deployment and what follows from it; `target` is what the configuration says, if anything."""
        now = self._records.now()
        has_failed = ended.state is _S.FAILED and ended.started_at > 0
        ended = replace(ended, has_locked=locks_by_hand(ended))
        hindrance = hindrance_of(tx, ended, target) if has_failed and target is not None else NOT_CONFIGURED
        if ended.state is not _S.FAILED or hindrance:
            kept = note(ended, not_rolled_back=hindrance) if has_failed else ended
            self._records.put(tx, kept, cause, due_at=None)
        else:
            self._records.put(tx, ended, cause, due_at=None)
            self._roll_back(tx, ended, now)
        if ended.rollback_of:
            self._restored(tx, ended, now)
            if ended.has_locked:
                self.lock(tx, ended, _why_back(ended), Cause("rollback"))
        elif ended.started_at and target is not None:
            self._outdate(tx, ended, target, now)
        self.wake_line(tx, ended.service, ended.environment)

    def wake_line(self, tx: Transaction, service: str, environment: str) -> None:
        """Let those that wait for their turn look again now."""
        tx.deployments.wake(service, environment, self._records.now())

    def begin_restoring(self, tx: Transaction, rollback: Deployment, cause: Cause) -> None:
        """Mark the deployment that `rollback` undoes, if it can still be undone."""
        undone = tx.deployments.get(rollback.rollback_of, for_change=True)
        if undone is not None and undone.state in _RESTORABLE:
            now, found = self._records.now(), undone.state
            marked = move(undone, _S.ROLLING_BACK, now, rolled_back_by=rollback.number, undone_from=found)
            kept = replace(marked, outcome=undone.outcome, detail=undone.detail)
            self._records.put(tx, replace(kept, rollback_outcome="", rollback_detail=""), cause, due_at=None)

    def _outdate(self, tx: Transaction, ended: Deployment, target: Target, now: float) -> None:
        """End what waits and would undo it, or try it once more, which nobody was shown who agreed."""
        for waiting in tx.deployments.newest(ended.service, ended.environment, _AGREED_ON, 100):
            why = outdated(tx, waiting, target)
            if why is not None:
                after = move(waiting, _S.SUPERSEDED, now, outcome=why.outcome, detail=why.about)
                self._records.put(tx, after, Cause("supersede"), due_at=None)

    def _roll_back(self, tx: Transaction, failed: Deployment, now: float) -> None:
        """Bring the version before back, at once and without asking, and lock what failed until a person has looked."""
        assert failed.previous is not None  # `hindrance_of` saw to that
        why = f"ended by {failed.detail}" if failed.outcome == "not_kept" else failed.detail or failed.outcome
        rollback = Deployment(
            0,
            failed.service,
            failed.environment,
            failed.previous,
            Requester(SYSTEM_ACTOR, "Shipmate"),
            now,
            kind=DeploymentKind.ROLLBACK,
            origin=BY_ITSELF,
            reason=why[:300],
            state=_S.QUEUED,
            state_since=now,
            previous=failed.version,
            terms=Terms(),
            rollback_of=failed.number,
        )
        cause = Cause("rollback")
        rollback = replace(rollback, undoes=undone_by(tx, rollback))
        added = self._records.add(tx, rollback, cause, dedup_key=f"rollback:{failed.number}", due_at=now)
        if added is not None:
            self.begin_restoring(tx, added, cause)
            self.lock(tx, failed, f"{failed.version.name} was rolled back: {why}", cause)

    def lock(self, tx: Transaction, of: Deployment, reason: str, cause: Cause) -> None:
        """Keep everything but rollbacks out until somebody unlocks it, whoever has locked it beside."""
        where, now = (of.service, of.environment), self._records.now()
        is_new = tx.locks.put(Lock(*where, reason[:500], SYSTEM_ACTOR, "Shipmate", now, is_of_rollback=True))
        outcome = "locked" if is_new else "locked_already"
        self._records.tell(tx, replace(cause, verb="lock"), "/".join(where), outcome)

    def _restored(self, tx: Transaction, rollback: Deployment, now: float) -> None:
        """What a rollback came to, for the deployment that it undoes."""
        undone = tx.deployments.get(rollback.rollback_of, for_change=True)
        if undone is not None and undone.state is _S.CANCELLED and rollback.state is _S.SUCCEEDED:
            self._undo_between(tx, undone, rollback, now)
            self._records.progress(tx, note(undone, rolled_back_by=rollback.number), due_at=None)  # it is at its end
            return
        if undone is None or undone.state is not _S.ROLLING_BACK or undone.rolled_back_by != rollback.number:
            return  # not begun to be undone, or by another one
        if not has_changed(rollback) and undone.undone_from is _S.SUCCEEDED:  # it is there, and as good as before
            unharmed = move(undone, _S.SUCCEEDED, now, outcome=undone.outcome, detail=undone.detail, rolled_back_by=0)
            self._records.put(tx, unharmed, Cause("restore"), due_at=None)
            return
        kept = {"outcome": undone.outcome, "detail": undone.detail}  # why it had to go
        if rollback.state is _S.SUCCEEDED:
            after = move(undone, _S.ROLLED_BACK, now, **kept)
            self._undo_between(tx, undone, rollback, now)
        else:
            why = {"rollback_outcome": rollback.outcome, "rollback_detail": rollback.detail}
            after = move(undone, _S.ROLLBACK_FAILED, now, **kept, **why)
        self._records.put(tx, after, Cause("restore"), due_at=None)

    def _undo_between(self, tx: Transaction, undone: Deployment, rollback: Deployment, now: float) -> None:
        """Of several steps back at once: what was good in between is there no more, and no way back any more."""
        for one in undone_with(tx, undone, rollback):
            kept = {"outcome": one.outcome, "detail": one.detail, "undone_from": one.state}
            how = {"rollback_outcome": TOGETHER, "rollback_detail": str(undone.number)}
            gone = move(one, _S.ROLLED_BACK, now, rolled_back_by=rollback.number, **kept, **how)
            self._records.put(tx, gone, Cause("restore"), due_at=None)


def _why_back(rollback: Deployment) -> str:
    """Why a rollback that a person asked for keeps everything else out."""
    gone = rollback.previous.name if rollback.previous else f"#{rollback.rollback_of}"
    came = "was rolled back" if rollback.state is _S.SUCCEEDED else "was to be rolled back"
    why = f": {rollback.reason}" if rollback.reason else ""
    return f"{gone} {came} by {rollback.requester.name}{why}"


def hindrance_of(tx: Transaction, failed: Deployment, target: Target) -> str:
    """Why a failed deployment is not rolled back by itself; empty where it is."""
    if failed.kind is DeploymentKind.ROLLBACK:
        return "is_rollback"
    if is_unseen(failed):  # its run may go on, and whatever were ordered now would run beside it
        return "unseen"
    if not has_changed(failed):  # what was to change something was refused
        return "nothing_changed"
    if not target.rollback.is_enabled:
        return "off"
    return way_back(tx, failed, failed.previous, target)
