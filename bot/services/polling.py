"""Asking trackers what changed, where their webhooks cannot be had, or may be lost."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from bot.domain.issues import ChangeKind, IssueChange
from bot.ports import Clock, Store, Transaction
from bot.services.trackers import Trackers
from bot.services.tracking import MOST_AGE_S, ChangeInbox, Taken
from bot.telemetry import logger

OVERLAP_S = 300.0  # a tracker's search follows its changes after a while

log = logger(__name__)


class Poller:
    """Asks one tracker at a time; what it has told before is known again by its key."""

    def __init__(self, store: Store, clock: Clock, trackers: Trackers, inbox: ChangeInbox) -> None:
        self._store = store
        self._clock = clock
        self._trackers = trackers
        self._inbox = inbox

    def poll(self, name: str) -> int:
        """Ask what changed since the last time; how many changes were new. Raises IntegrationError.

        The first time, and after more than a day without an answer, it begins anew: what was before starts nothing.
        """
        access = self._trackers.get(name)
        if access is None:
            return 0
        now = self._clock.now().timestamp()
        known = self._store.read(lambda tx: tx.polls.get(name))
        if known is None or now - known[1] > MOST_AGE_S:
            self._begin(name, access.tracker.changes(_instant(now)), now)
            return 0
        begun_at, polled_at = known
        found = access.tracker.changes(_instant(max(begun_at, polled_at - OVERLAP_S)))
        taken = self._inbox.accept(name, [change for change in found if _is_ours(change, begun_at)])
        self._store.write(lambda tx: tx.polls.put(name, begun_at, now))
        return taken.count(Taken.ACCEPTED)

    def _begin(self, name: str, found: Sequence[IssueChange], now: float) -> None:
        """Remember versions that are released already, and from when on the rest counts."""
        released = [change for change in found if change.kind is ChangeKind.VERSION_RELEASED]

        def work(tx: Transaction) -> None:
            for change in released:
                tx.tracker_tasks.add(name, change.key, change.kind.value, change.to_json(), due_at=None, at=now)
            tx.polls.put(name, now, now)

        self._store.write(work)
        log.info("polling begins", tracker=name, versions_known=len(released))


def _is_ours(change: IssueChange, begun_at: float) -> bool:
    return change.kind is ChangeKind.VERSION_RELEASED or change.occurred_at.timestamp() >= begun_at


def _instant(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
