"""A tracker in memory, and the services that hear it and tell it, over a real database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, select

from bot.domain.builds import Build
from bot.domain.cards import Section
from bot.domain.deployments import Deployment
from bot.domain.issues import ChangeKind, Issue, IssueChange, KeyRules, Release, RemoteLink
from bot.domain.triggers import Firing, Trigger
from bot.errors import DestinationGone
from bot.ports import Transaction
from bot.ports.trackers import Submission
from bot.services.dispatcher import carry_out
from bot.services.polling import Poller
from bot.services.signal import Signal
from bot.services.telling import Teller, Tidings
from bot.services.trackers import Told, TrackerAccess, Trackers
from bot.services.tracking import ChangeInbox, Fired, Taken, TrackerWorker
from bot.storage.tables import audit, tracker_tasks
from tests.fakes import EPOCH, FakeClock
from tests.stores import SqlStore

ISSUE = Issue("USER-12", "Log in", "Ready", kind="Story", fix_versions=("1.4.2",), project="USER", id="1")
TRIGGER = Trigger(
    name="trackers.jira.triggers[0]",
    tracker="jira",
    kind=ChangeKind.STATUS_REACHED,
    value="Ready",
    service="user-service",
    environment="staging",
    version="{{fix_version}}",
    on_success="In Staging",
    on_failure="Broken",
)


@dataclass
class FakeTracker:
    """Issues in memory. `fails` are errors of the next calls; `calls` are the changes that were made, in order."""

    issues: dict[str, Issue] = field(default_factory=lambda: {ISSUE.key: ISSUE})
    versions: list[Release] = field(default_factory=list)
    changed: list[IssueChange] = field(default_factory=list)
    calls: list[tuple[str, ...]] = field(default_factory=list)
    markers: set[str] = field(default_factory=set)
    links: dict[str, RemoteLink] = field(default_factory=dict)
    submitted: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    submission: Submission = field(default_factory=lambda: Submission(1))
    fails: list[Exception] = field(default_factory=list)
    asked_since: list[datetime] = field(default_factory=list)
    moves: list[tuple[datetime, str, str]] = field(default_factory=list)
    now: Callable[[], datetime] = lambda: EPOCH

    def issue(self, key: str) -> Issue:
        """See `Tracker`."""
        self._may_fail()
        if key not in self.issues:
            raise DestinationGone("jira", "no_such_issue")
        return self.issues[key]

    def transition(
        self,
        key: str,
        status: str,
        comment: Sequence[Section] = (),
        marker: str = "",
        *,
        since: datetime | None = None,
    ) -> bool:
        """See `Tracker`."""
        self._may_fail()
        was_there = any(at >= since for at, *moved in self.moves if moved == [key, status]) if since else False
        if self.issues[key].status == status or was_there or (comment and marker in self.markers):
            return False
        self.moves.append((self.now(), key, status))
        self.issues[key] = replace(self.issues[key], status=status)
        self.calls.append(("transition", key, status))
        if comment:
            self.calls.append(("comment", key, words_of(comment)))
            self.markers.add(marker)
        return True

    def comment(self, key: str, sections: Sequence[Section], marker: str) -> bool:
        """See `Tracker`."""
        self._may_fail()
        if marker in self.markers:
            return False
        self.markers.add(marker)
        self.calls.append(("comment", key, words_of(sections)))
        return True

    def link(self, key: str, link: RemoteLink) -> None:
        """See `Tracker`."""
        self._may_fail()
        self.calls.append(("link", key, link.title))
        self.links[link.global_id] = link

    def changes(self, since: datetime) -> Sequence[IssueChange]:
        """See `Tracker`."""
        self._may_fail()
        self.asked_since.append(since)
        return [one for one in self.changed if one.kind is ChangeKind.VERSION_RELEASED or one.occurred_at >= since]

    def relate(self, key: str, other: str, kind: str) -> bool:
        """See `Relations`."""
        self._may_fail()
        self.calls.append(("relate", key, f"{kind} {other}"))
        return True

    def releases(self, project: str) -> Sequence[Release]:
        """See `Releases`."""
        return self.versions

    def find(self, release: Release) -> Release | None:
        """See `Releases`."""
        self._may_fail()
        return next((one for one in self.versions if one.id == release.id), None)

    def add_fix_version(self, key: str, name: str) -> None:
        """See `Releases`."""
        self._may_fail()
        self.calls.append(("fix_version", key, name))

    def submit_deployment(self, deployment: Deployment, keys: Sequence[str], at: datetime) -> Submission:
        """See `DeliveryRecords`."""
        self._may_fail()
        self.submitted.append((deployment.state.value, tuple(keys)))
        return self.submission

    def submit_build(self, build: Build, revision: int, keys: Sequence[str], at: datetime) -> Submission:
        """See `DeliveryRecords`."""
        self.submitted.append((build.status.value, tuple(keys)))
        return self.submission

    def _may_fail(self) -> None:
        if self.fails:
            raise self.fails.pop(0)


@dataclass
class FakeTriggers:
    """Takes every firing, each key once; `refuses` is raised instead, `fails` when it is looked up."""

    fired: list[Firing] = field(default_factory=list)
    refuses: Exception | None = None
    fails: list[Exception] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)

    def propose(self, firing: Firing) -> object:
        """See `Triggers`."""
        if self.fails:
            raise self.fails.pop(0)
        return firing.version

    def rehearse(self, firing: Firing, locale: str) -> Fired:
        """See `Triggers`."""
        if self.refuses is not None:
            raise self.refuses
        return Fired(reason="dry_run", words="Somebody must approve.", version=f"{firing.version} (3f2a9c1d)")

    def fire(self, tx: Transaction, firing: Firing, proposal: object) -> Fired:
        """See `Triggers`."""
        if self.refuses is not None:
            raise self.refuses
        self.fired.append(firing)
        return Fired(number=self.numbers.setdefault(firing.key, len(self.numbers) + 1))


@dataclass
class TrackerWorld:
    """Everything between a tracker's webhook and what is written to its issues."""

    store: SqlStore
    database: Engine
    triggers: tuple[Trigger, ...] = (TRIGGER,)
    told: Told = field(default_factory=Told)
    shows: bool = False
    locale: str = "en"
    projects: tuple[str, ...] = ("USER",)
    url: str = "https://acme.atlassian.net"
    clock: FakeClock = field(default_factory=FakeClock)
    tracker: FakeTracker = field(default_factory=FakeTracker)
    deployments: FakeTriggers = field(default_factory=FakeTriggers)

    def __post_init__(self) -> None:
        self.tracker.now = self.clock.now
        access = TrackerAccess(
            tracker=self.tracker,
            rules=KeyRules(frozenset(self.projects), page=f"{self.url}/browse/{{key}}"),
            releases=self.tracker,
            relations=self.tracker,
            records=self.tracker if self.shows else None,
            shows_builds=self.shows,
            triggers=self.triggers,
            told=self.told,
            locale=self.locale,
        )
        self.trackers = Trackers({"jira": access})
        signal = Signal()
        self.inbox = ChangeInbox(self.store, self.clock, self.trackers, signal)
        self.tidings = Tidings(self.trackers, self.clock)
        teller = Teller(self.store, self.clock)
        self.worker = TrackerWorker(self.store, self.clock, self.trackers, self.deployments, teller, signal)
        self.poller = Poller(self.store, self.clock, self.trackers, self.inbox)

    def hear(self, *changes: IssueChange) -> list[Taken]:
        """Take changes as the door does."""
        return self.inbox.accept("jira", changes)

    def work(self, seconds: float = 0.0) -> None:
        """Do what is due, and what becomes due within the next `seconds`."""
        end = self.clock.now().timestamp() + seconds
        for _ in range(1000):
            due = self.store.read(lambda tx: tx.tracker_tasks.next_due_at())
            now = self.clock.now().timestamp()
            if due is None or due > end:
                self.clock.advance(max(0.0, end - now))
                return
            if due > now:
                self.clock.advance(due - now + 1e-5)
            for task in self.worker.claim(4):
                carry_out(self.worker, task)
        raise AssertionError("work never comes to rest")

    def tell(self, deployment: Deployment) -> None:
        """A deployment came to a state."""
        self.store.write(lambda tx: self.tidings.deployment(tx, deployment))

    def outcomes(self) -> list[str]:
        """What each piece of work came to, oldest first; empty while it is open."""
        with self.database.connect() as connection:
            kinds = tracker_tasks.c.kind != "origin"
            return list(connection.scalars(select(tracker_tasks.c.outcome).where(kinds).order_by(tracker_tasks.c.id)))

    def trail(self) -> list[tuple[str, str, str]]:
        """The audit trail: actor, target, outcome."""
        with self.database.connect() as connection:
            rows = connection.execute(select(audit.c.actor, audit.c.target, audit.c.outcome).order_by(audit.c.seq))
            return [tuple(row) for row in rows]


def moved(status: str = "Ready", *, key: str = "changelog:1:status", at: float = 0.0, **changed: Any) -> IssueChange:
    """The issue reached a status, `at` seconds after EPOCH."""
    issue = replace(ISSUE, status=status, **changed)
    when = EPOCH + timedelta(seconds=at)
    return IssueChange(ChangeKind.STATUS_REACHED, key, status, when, issue, account="jira:5b10", person="Ada")


def released(version: str = "1.4.2", *, number: str = "7", at: float = 0.0, project: str = "") -> IssueChange:
    """A version was released; a poll tells its project, a webhook does not."""
    release = Release(number, version, project)
    when = EPOCH + timedelta(seconds=at)
    return IssueChange(ChangeKind.VERSION_RELEASED, f"version:{number}:released", version, when, release=release)


def words_of(sections: Sequence[Section]) -> str:
    """What sections say, as a reader would see it."""
    said = []
    for section in sections:
        said.append(section.title)
        items = getattr(section, "items", None) or (getattr(section, "body", ""),)
        for item in items:
            parts = item if isinstance(item, tuple) else (item,)
            said.append("".join(getattr(part, "text", getattr(part, "name", str(part))) for part in parts))
    return "\n".join(line for line in said if line)
