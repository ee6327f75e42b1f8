"""Asking trackers what changed, where their webhooks cannot be had, or may be lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256

from bot.domain.issues import ChangeKind, IssueChange
from bot.ports import Clock, Store, Transaction
from bot.services.trackers import TrackerAccess, Trackers
from bot.services.tracking import MOST_AGE_S, ChangeInbox, Taken
from bot.telemetry import logger

OVERLAP_S = 300.0  # a tracker's search follows its changes after a while

log = logger(__name__)


class Poller:
    """Asks one tracker at a time; what it has told before is known again by its key.

    Versions are told again in each poll. Every one that was told is remembered, whether a trigger wants it or not, and
    those of a project that was not watched before start nothing: a trigger that comes later finds nothing new in them.
    """

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
        lines = _lines(name, access)
        before, watched = self._store.read(lambda tx: _before(tx, name, lines))
        is_anew = before is None or now - before[1] > MOST_AGE_S
        begun_at, polled_at = (now, now) if before is None or is_anew else before
        found = access.tracker.changes(_instant(max(begun_at, polled_at - OVERLAP_S)))
        moved = [] if is_anew else [one for one in found if one.release is None and _at(one) >= begun_at]
        fresh = self._unknown(name, found)
        news = [one for one in fresh if one.project in watched and not is_anew]
        taken = [] if is_anew else self._inbox.accept(name, [*moved, *news])
        wanted = {one.key for one, what in zip(news, taken[len(moved) :], strict=True) if what is not Taken.IGNORED}
        old = [one for one in fresh if one.key not in wanted]
        self._remember(name, (name, *lines.values()), old, (begun_at, now))
        if is_anew or len(watched) < len(lines):
            log.info("polling begins", tracker=name, versions_known=len(old))
        return taken.count(Taken.ACCEPTED)

    def _remember(self, name: str, rows: Sequence[str], old: Sequence[IssueChange], asked: tuple[float, float]) -> None:
        """Remember the versions that start nothing, and since when it is asked, and was last."""
        now = asked[1]

        def work(tx: Transaction) -> None:
            for one in old:
                tx.tracker_tasks.add(name, one.key, one.kind.value, one.to_json(), due_at=None, at=now)
            for row in rows:
                tx.polls.put(row, *asked)

        self._store.write(work)

    def _unknown(self, name: str, found: Sequence[IssueChange]) -> list[IssueChange]:
        """Those of the versions that were not told before."""
        told = {change.key: change for change in found if change.kind is ChangeKind.VERSION_RELEASED}
        if not told:
            return []
        known = self._store.read(lambda tx: tx.tracker_tasks.known(name, list(told)))
        return [change for key, change in told.items() if key not in known]


def _before(tx: Transaction, name: str, lines: Mapping[str, str]) -> tuple[tuple[float, float] | None, set[str]]:
    """Since when it is asked and when it was last, and the projects whose versions it told then."""
    known = tx.polls.get(name)
    if known is None:
        return None, set()
    rows = {project: tx.polls.get(line) for project, line in lines.items()}
    return known, {project for project, row in rows.items() if row is not None and row[1] >= known[1]}


def _lines(name: str, access: TrackerAccess) -> dict[str, str]:
    """Under which name it is remembered that a project's versions are watched, by the project.

    A tracker at another address is another one: its versions have other ids.
    """
    if all(trigger.kind is not ChangeKind.VERSION_RELEASED for trigger in access.triggers):
        return {}
    rules = access.rules
    names = {project: f"{name}\n{project}\n{rules.page}" for project in sorted(rules.projects)}
    return {project: f"versions:{sha256(words.encode()).hexdigest()[:31]}" for project, words in names.items()}


def _at(change: IssueChange) -> float:
    return change.occurred_at.timestamp()


def _instant(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
