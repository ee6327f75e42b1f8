"""What trackers are told of deployments: once, in order, whatever happens in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from bot.domain.builds import BuildStatus
from bot.domain.cards import Section
from bot.domain.checks import CheckProgress, Verdict
from bot.domain.deployments import Deployment, DeploymentKind, DeploymentState, Requester, Run, Version
from bot.domain.issues import RemoteLink
from bot.errors import AuthFailed, DestinationGone, OutcomeUnknown, Rejected, Unavailable
from bot.ports import SubjectRecord
from bot.ports.trackers import Submission
from bot.services.deployments.records import subject_of
from bot.services.trackers import Told
from tests.fakes import EPOCH
from tests.services.tracker_world import TRIGGER, FakeTracker, TrackerWorld, moved
from tests.stores import SqlStore, event_of

pytestmark = pytest.mark.one_engine

_S = DeploymentState
EVERYTHING = Told(comment=("*",), link=("*",), fix_version=("*",))
Make = Callable[..., TrackerWorld]


@pytest.fixture
def make(store: SqlStore, database: Engine) -> Make:
    """Make a world with wishes of its own."""
    return lambda **wishes: TrackerWorld(store, database, **wishes)


@pytest.fixture
def started(make: Make) -> TrackerWorld:
    """A trigger has started deployment 1."""
    world = make()
    world.hear(moved())
    world.work()
    return world


def deployment(state: DeploymentState = _S.SUCCEEDED, **changed: Any) -> Deployment:
    """Deployment 1 of user-service to staging."""
    known = Deployment(
        1,
        "user-service",
        "staging",
        Version("1.4.2"),
        Requester("jira:5b10", "Ada"),
        EPOCH.timestamp(),
        state=state,
        started_at=EPOCH.timestamp() + 60,
        run=Run(0.0, url="https://ci.example.com/7"),
        checks=(CheckProgress("health", Verdict.FAILED, last_detail="500"),),
    )
    return replace(known, **changed)


def test_a_good_end_is_written_and_moves_the_issue(started: TrackerWorld) -> None:
    """One comment with the facts, in the transition itself."""
    started.tell(deployment())
    started.work()
    assert [call[:2] for call in started.tracker.calls] == [("transition", "USER-12"), ("comment", "USER-12")]
    said = started.tracker.calls[1][2]
    assert "user-service#1 · 1.4.2 → staging · deployed" in said
    assert "Deployed by: Ada" in said
    assert "View deployment" in said
    assert started.tracker.issues["USER-12"].status == "In Staging"


@pytest.mark.parametrize("state", [_S.FAILED, _S.ROLLED_BACK, _S.ROLLBACK_FAILED, _S.CANCELLED, _S.EXPIRED])
def test_a_bad_end_moves_it_elsewhere(started: TrackerWorld, state: DeploymentState) -> None:
    """To the status for failures, with the checks that failed."""
    started.tell(deployment(state))
    started.work()
    assert started.tracker.issues["USER-12"].status == "Broken"
    assert "health" in started.tracker.calls[1][2]


def test_a_superseded_one_moves_nothing(started: TrackerWorld) -> None:
    """A newer one is on its way: only the comment says so."""
    started.tell(deployment(_S.SUPERSEDED))
    started.work()
    assert [call[0] for call in started.tracker.calls] == ["comment"]


def test_states_on_the_way_are_not_written(started: TrackerWorld) -> None:
    """Nobody wants a mail for each of them."""
    for state in (_S.REQUESTED, _S.AWAITING_APPROVAL, _S.QUEUED, _S.DEPLOYING, _S.VERIFYING, _S.ROLLING_BACK):
        started.tell(deployment(state))
    started.work()
    assert started.tracker.calls == []


def test_the_same_end_is_told_once(started: TrackerWorld) -> None:
    """However often its state is stored; a roll-back afterwards is another end."""
    for _ in range(3):
        started.tell(deployment(_S.FAILED))
        started.work()
    started.tell(deployment(_S.ROLLED_BACK))
    started.work()
    assert [call[0] for call in started.tracker.calls] == ["transition", "comment", "comment"]


def test_a_tracker_that_is_away_is_told_later(started: TrackerWorld) -> None:
    """And once, also where an answer was lost after the call was carried out."""
    started.tracker.fails = [
        Unavailable("jira", "unreachable"),
        OutcomeUnknown("jira", "no_answer"),
        AuthFailed("jira", "http_401"),
    ]
    started.tell(deployment())
    started.work(60)
    assert [call[0] for call in started.tracker.calls] == ["transition", "comment"]


@dataclass
class LossyTracker(FakeTracker):
    """One whose first transition is carried out, and its answer lost."""

    is_lost: bool = False

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
        moved = super().transition(key, status, comment, marker, since=since)
        if not self.is_lost:
            self.is_lost = True
            raise OutcomeUnknown("jira", "no_answer")
        return moved


def test_a_lost_answer_to_the_transition_says_nothing_twice(make: Make) -> None:
    """The issue is there already, and its comment is found by its marker."""
    world = make(tracker=LossyTracker())
    world.hear(moved())
    world.work()
    world.tell(deployment())
    world.work(60)
    assert world.outcomes()[-1] == "done"
    assert [call[0] for call in world.tracker.calls] == ["transition", "comment"]


def test_a_move_whose_answer_was_lost_is_not_made_again(make: Make) -> None:
    """Also where no comment tells of it: people have passed the issue on before the next try."""
    world = make(triggers=(replace(TRIGGER, comments=False),), tracker=LossyTracker())
    world.hear(moved())
    world.work()
    world.tell(deployment())
    world.work()
    assert world.tracker.issues["USER-12"].status == "In Staging"
    world.tracker.issues["USER-12"] = replace(world.tracker.issues["USER-12"], status="Accepted")
    world.work(60)
    assert world.tracker.issues["USER-12"].status == "Accepted"
    assert world.outcomes()[-1] == "done"


@dataclass
class SlowTracker(FakeTracker):
    """One that carries out the first comment only half a minute after we hung up on it."""

    late: list[tuple[datetime, str, Sequence[Section], str]] = field(default_factory=list)

    def comment(self, key: str, sections: Sequence[Section], marker: str) -> bool:
        """See `Tracker`."""
        if not self.late:
            self.late.append((self.now() + timedelta(seconds=30), key, sections, marker))
            raise OutcomeUnknown("jira", "timeout")
        at, *first = self.late[0]
        if self.now() >= at:
            super().comment(*first)
        return super().comment(key, sections, marker)


def test_a_comment_that_is_carried_out_late_stands_alone(make: Make) -> None:
    """Until it may have come, none is written beside it."""
    world = make(triggers=(replace(TRIGGER, on_success=""),), tracker=SlowTracker())
    world.hear(moved())
    world.work()
    world.tell(deployment())
    world.work(59)
    assert world.tracker.calls == []
    world.work(60)
    assert [call[0] for call in world.tracker.calls] == ["comment"]
    assert world.outcomes()[-1] == "done"


@dataclass
class StubbornTracker(FakeTracker):
    """One that takes no comment in a transition, and whose `steps` fail with `problem`, so many times."""

    steps: tuple[str, ...] = ()
    problem: Exception = field(default_factory=lambda: Unavailable("jira", "unreachable"))
    times: int = 1

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
        return super().transition(key, status, since=since)

    def comment(self, key: str, sections: Sequence[Section], marker: str) -> bool:
        """See `Tracker`."""
        self._stumble("comment")
        return super().comment(key, sections, marker)

    def link(self, key: str, link: RemoteLink) -> None:
        """See `Tracker`."""
        self._stumble("link")
        super().link(key, link)

    def add_fix_version(self, key: str, name: str) -> None:
        """See `Releases`."""
        self._stumble("fix_version")
        super().add_fix_version(key, name)

    def _stumble(self, step: str) -> None:
        if step in self.steps and self.times:
            self.times -= 1
            raise self.problem


@pytest.mark.parametrize(("step", "comments"), [("comment", True), ("link", False), ("fix_version", False)])
def test_an_issue_that_people_passed_on_is_not_moved_back(make: Make, step: str, comments: bool) -> None:
    """Whatever fails after it was moved: only what is left is tried again."""
    tracker = StubbornTracker(steps=(step,))
    told = Told(link=("*",), fix_version=("*",))
    world = make(triggers=(replace(TRIGGER, comments=comments),), told=told, tracker=tracker)
    world.hear(moved())
    world.work()
    world.tell(deployment())
    world.work()
    assert tracker.issues["USER-12"].status == "In Staging"
    tracker.issues["USER-12"] = replace(tracker.issues["USER-12"], status="Accepted")
    world.work(60)
    assert tracker.issues["USER-12"].status == "Accepted"
    made = ["transition", "comment", "link", "fix_version"] if comments else ["transition", "link", "fix_version"]
    assert [call[0] for call in tracker.calls] == made
    assert world.outcomes()[-1] == "done"


def test_a_right_that_is_missing_keeps_nothing_else_from_being_done(make: Make) -> None:
    """It is tried again for a day, for somebody may give it; nothing else is done a second time."""
    tracker = StubbornTracker(steps=("link",), problem=AuthFailed("jira", "http_403"), times=10**6)
    world = make(triggers=(TRIGGER,), told=Told(link=("*",), fix_version=("*",)), tracker=tracker)
    world.hear(moved())
    world.work()
    world.tell(deployment())
    world.work(90_000)
    assert [call[0] for call in tracker.calls] == ["transition", "comment", "fix_version"]
    assert world.outcomes()[-1] == "failed:http_403"


@pytest.mark.parametrize(("late", "last"), [(_S.SUCCEEDED, _S.ROLLED_BACK), (_S.FAILED, _S.ROLLBACK_FAILED)])
def test_an_end_that_is_told_late_undoes_no_later_one(
    make: Make, store: SqlStore, late: DeploymentState, last: DeploymentState
) -> None:
    """Its comment is written; where the issue stands, and what its link says, is what the deployment came to since."""
    world = make(told=EVERYTHING)
    world.hear(moved())
    world.work()
    world.tracker.fails = [Unavailable("jira", "unreachable")]
    world.tell(deployment(late))
    world.work()
    store.write(lambda tx: tx.deployments.add(deployment(last), dedup_key="one", due_at=EPOCH.timestamp()))
    world.tell(deployment(last))
    world.work()
    assert world.tracker.issues["USER-12"].status == "Broken"
    world.work(60)
    assert world.tracker.issues["USER-12"].status == "Broken"
    assert [call[0] for call in world.tracker.calls].count("comment") == 2
    assert [link.summary for link in world.tracker.links.values()] == [last.value.replace("_", " ")]


def test_a_workflow_that_knows_no_such_way_keeps_nobody_from_reading(started: TrackerWorld) -> None:
    """The comment is written all the same, and the outcome names what was not done."""

    def refuse(*_: object, **__: object) -> bool:
        raise Rejected("jira", "no_transition")

    started.tracker.transition = refuse  # type: ignore[method-assign]  # a workflow of its own
    started.tell(deployment())
    started.work()
    assert [call[0] for call in started.tracker.calls] == ["comment"]
    assert started.outcomes()[-1] == "done:no_transition"


def test_what_cannot_be_told_is_given_up(started: TrackerWorld) -> None:
    """An issue that is gone; a refusal for good."""
    started.tracker.fails = [DestinationGone("jira", "no_such_issue")] * 2
    started.tell(deployment())
    started.work(60)
    assert started.outcomes()[-1] == "failed:no_such_issue"
    assert started.tracker.calls == []


def test_issues_of_a_deployment_are_told_what_is_configured(make: Make) -> None:
    """Those found in its commits: a comment, a link, and the version they are in."""
    world = make(told=EVERYTHING)
    world.tell(deployment(issues=("USER-12", "SHOP-1")))
    world.work()
    assert [call[:2] for call in world.tracker.calls] == [
        ("comment", "USER-12"),
        ("link", "USER-12"),
        ("fix_version", "USER-12"),
    ]
    assert world.tracker.calls[1][2] == "user-service 1.4.2 → staging"


def test_one_that_never_began_is_told_only_where_it_was_asked_for(make: Make) -> None:
    """A preview that nobody confirmed is no news to the issues in its commits."""
    world = make(told=EVERYTHING)
    world.tell(deployment(_S.EXPIRED, started_at=0.0, outcome="not_confirmed", issues=("USER-12",)))
    world.work()
    assert world.outcomes() == []


def test_a_rollback_is_no_fix_version(make: Make) -> None:
    """What brings the old version back does not put issues into it; nor does what failed."""
    world = make(told=EVERYTHING)
    world.tell(deployment(kind=DeploymentKind.ROLLBACK, issues=("USER-12",)))
    world.tell(deployment(_S.FAILED, number=2, issues=("USER-12",)))
    world.work()
    assert [call[0] for call in world.tracker.calls] == ["comment", "link", "comment", "link"]


@pytest.mark.parametrize(
    "version", [Version("3f2a9c1d", "3f2a9c1d" + 32 * "0"), Version("#12", build="build:ci/shop#12")]
)
def test_a_commit_or_a_build_is_no_fix_version(make: Make, version: Version) -> None:
    """Else each deployment of the latest build would make a version in the issue's project."""
    world = make(told=Told(fix_version=("*",)))
    world.tell(deployment(version=version, issues=("USER-12",)))
    world.work()
    assert world.tracker.calls == []
    world.tell(deployment(version=replace(version, name="1.4.2"), issues=("USER-12",), number=2))
    world.work()
    assert [call[2] for call in world.tracker.calls] == ["1.4.2"]


def test_a_tag_that_its_commit_begins_with_is_a_fix_version(make: Make) -> None:
    """Nobody calls a commit by so few characters: `7` is the seventh release."""
    world = make(told=Told(fix_version=("*",)))
    world.tell(deployment(version=Version("7", "7f2a9c1d" + 32 * "0"), issues=("USER-12",)))
    world.work()
    assert [call[2] for call in world.tracker.calls] == ["7"]


@pytest.mark.parametrize(("earlier", "added"), [("b" * 40, []), ("a" * 40, ["main"])], ids=["branch", "tag"])
def test_a_branch_is_no_fix_version(make: Make, earlier: str, added: list[str]) -> None:
    """Its name stands for another commit each time: a version of that name would hold whatever came last."""
    world = make(told=Told(fix_version=("*",)))
    before = deployment(version=Version("main", earlier, "build:ci/shop#11"))
    world.store.write(lambda tx: tx.deployments.add(before, dedup_key="1", due_at=0.0))
    world.tell(deployment(version=Version("main", "a" * 40, "build:ci/shop#12"), issues=("USER-12",), number=2))
    world.work()
    assert [call[2] for call in world.tracker.calls] == added


def test_a_fix_version_that_is_refused_is_no_reason_to_stop(make: Make) -> None:
    """The outcome names it."""
    world = make(told=Told(fix_version=("staging",)))
    world.tracker.fails = [Rejected("jira", "refused")]
    world.tell(deployment(issues=("USER-12",)))
    world.work()
    assert world.outcomes() == ["done:fix_version"]


@pytest.mark.parametrize("told", [Told(), Told(comment=("production",), link=("prod*",))])
def test_other_environments_are_told_nothing(make: Make, told: Told) -> None:
    """Without a trigger, only what is configured."""
    world = make(told=told)
    world.tell(deployment(issues=("USER-12",)))
    world.work()
    assert world.outcomes() == []


def test_every_state_is_shown_where_there_is_a_place(make: Make) -> None:
    """Deployments handed in for the issues' own panel, an older state never over a newer one."""
    world = make(shows=True)
    for state in (_S.REQUESTED, _S.QUEUED, _S.DEPLOYING, _S.SUCCEEDED):
        world.tell(deployment(state, issues=("USER-12",)))
    world.tell(deployment(_S.SUCCEEDED, issues=("USER-12",)))
    world.tell(deployment(_S.SUCCEEDED, number=2))
    world.work()
    assert world.tracker.submitted == [(state, ("USER-12",)) for state in ("queued", "deploying", "succeeded")]


@pytest.mark.parametrize("state", [_S.CANCELLED, _S.EXPIRED, _S.SUPERSEDED])
def test_a_preview_that_nobody_confirmed_is_shown_nowhere(make: Make, state: DeploymentState) -> None:
    """It is its requester's alone, also once it has ended; what was confirmed is shown to its end."""
    world = make(shows=True)
    ended = deployment(state, started_at=0.0, issues=("USER-12",))
    world.tell(ended)
    world.work()
    assert (world.tracker.submitted, world.outcomes()) == ([], [])
    confirmed = replace(ended, number=2)
    world.store.write(lambda tx: tx.subjects.put(subject_of(confirmed), 0.0))
    world.tell(confirmed)
    world.work()
    assert world.tracker.submitted == [(state, ("USER-12",))]


def test_what_was_not_taken_is_an_outcome(make: Make) -> None:
    """Accepted is not shown."""
    world = make(shows=True)
    world.tracker.submission = Submission(0, ("only unknown issue keys",), ("USER-99",))
    world.tell(deployment(_S.QUEUED, issues=("USER-99",)))
    world.work()
    world.tracker.submission = Submission(1, (), ("USER-99",))
    world.tell(deployment(_S.DEPLOYING, issues=("USER-99", "USER-12")))
    world.work()
    assert world.outcomes() == ["rejected:only unknown issue keys", "done:unknown_keys"]


def test_builds_are_shown_at_the_issues_of_their_branch(make: Make, store: SqlStore) -> None:
    """Each status once; a build without keys is nobody's."""
    from bot.domain.folding import fold

    world = make(shows=True)

    def tell(*events: Any) -> None:
        folded = None
        for event in events:
            folded = fold(folded, event)
        assert folded is not None
        record = SubjectRecord(events[0].subject, folded, len(events))
        store.write(lambda tx: (tx.subjects.put(record, EPOCH.timestamp()), world.tidings.build(tx, record)))

    running = event_of(12, branch="feature/user-12-login")
    tell(running)
    tell(event_of(13, branch="main"))
    world.work()
    tell(running, event_of(12, BuildStatus.SUCCESS, at=5, started=0, branch="feature/user-12-login"))
    world.work()
    assert world.tracker.submitted == [("running", ("USER-12",)), ("success", ("USER-12",))]


def test_the_issue_that_asked_is_linked_with_what_was_deployed(make: Make) -> None:
    """As its trigger says, after a good end; a kind of link that nobody knows is no reason to stop."""
    world = make(triggers=(replace(TRIGGER, comments=False, on_success="", relates="Relates"),))
    world.hear(moved())
    world.work()
    world.tell(deployment(_S.FAILED, issues=("USER-12", "USER-13")))
    world.tell(deployment(issues=("USER-12", "USER-13", "USER-14", "SHOP-1")))
    world.work()
    assert [call for call in world.tracker.calls if call[0] != "transition"] == [
        ("relate", "USER-12", "Relates USER-13"),
        ("relate", "USER-12", "Relates USER-14"),
    ]
    world.tracker.fails = [Rejected("jira", "refused", "no such type")]
    world.tell(deployment(issues=("USER-12", "USER-15"), requested_at=EPOCH.timestamp() + 1))
    world.work()
    assert world.outcomes()[-1] == "done:relate"


def test_triggers_without_comments_only_move(make: Make) -> None:
    """As configured."""
    world = make(triggers=(replace(TRIGGER, comments=False),))
    world.hear(moved())
    world.work()
    world.tell(deployment())
    world.work()
    assert [call[0] for call in world.tracker.calls] == ["transition"]
