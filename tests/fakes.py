"""Hand-written stand-ins for ports, kept honest by the contract suites."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import takewhile

from bot.domain.budgets import Budget, Window
from bot.domain.builds import Build, BuildFacts, BuildStatus, FailedTest, Phase, Stage, StageStatus
from bot.domain.cards import Card, Content, Notice
from bot.domain.commands import Actor, ReplyTo
from bot.domain.deployments import Version
from bot.domain.events import Event, EventKind
from bot.domain.places import Capabilities, Operation, Place, Rendered
from bot.domain.subjects import SubjectKey, SubjectKind
from bot.errors import Conflict, DestinationGone, OutcomeUnknown, Rejected, Unavailable
from bot.ports import Begun, Between, Calls, Commit, PersonFacts, Triggered, nothing_more

HANGS_UP_S = 8.0  # who waits for an answer
EPOCH = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)


@dataclass(slots=True)
class FakeRun:
    """One build of a FakeBuildSystem; `request` is how it was asked for."""

    key: SubjectKey
    facts: BuildFacts
    log: Sequence[str] = ()

    @property
    def is_finished(self) -> bool:
        """Whether it has ended."""
        return self.facts.status is not BuildStatus.RUNNING


@dataclass(slots=True)
class FakeRequest:
    """A run that was asked for: by whom, as a retry of what, and the build it became."""

    correlation: str
    at: datetime
    project: str
    asked_by: str
    parameters: Mapping[str, str]
    retried: SubjectKey | None
    build: SubjectKey | None = None
    withdrawn_by: str = ""


@dataclass(slots=True)
class FakeBuildSystem:
    """A CI system in memory: BuildReader and BuildControl. Tests start and end its builds.

    `loses_answers` lets control calls happen and raise OutcomeUnknown all the same; `queues` lets requests wait until
    `begin_queued`. Calls named in `away` find nobody there. `parameters` are those that every project takes. Of the
    commits between two builds it tells at most `tells_commits`.
    """

    source: str = "buildbot"
    projects: tuple[str, ...] = ("user-service",)
    parameters: tuple[str, ...] = ("version",)
    now: datetime = EPOCH
    loses_answers: bool = False
    lost_as: str = "no_answer"
    queues: bool = False
    away: set[str] = field(default_factory=set)
    tells_commits: int = 1000
    runs: dict[SubjectKey, FakeRun] = field(default_factory=dict)
    requests: list[FakeRequest] = field(default_factory=list)

    # --- what tests do with it

    def start(self, project: str = "user-service") -> SubjectKey:
        """Start a build, as a push would."""
        self._know(project)
        number = 1 + sum(key.project == project for key in self.runs)
        key = SubjectKey(SubjectKind.BUILD, self.source, project, str(number))
        facts = BuildFacts(
            status=BuildStatus.RUNNING,
            branch="main",
            started_at=self.now,
            stages=(Stage("tests", StageStatus.RUNNING),),
        )
        self.runs[key] = FakeRun(key, facts)
        return key

    def finish(self, key: SubjectKey, status: BuildStatus = BuildStatus.FAILED) -> None:
        """End a build five seconds later."""
        run = self.runs[key]
        self.now += timedelta(seconds=5)
        is_bad = status is BuildStatus.FAILED
        stage = Stage("tests", StageStatus.FAILED if is_bad else StageStatus.SUCCESS, 5.0)
        run.facts = replace(run.facts, status=status, finished_at=self.now, stages=(stage,))
        run.log = (
            ("FAIL: test_sum (tests.Sum.test_sum)", "AssertionError: 1 != 2", "FAILED (failures=1)") if is_bad else ()
        )

    def begin_queued(self) -> None:
        """Give every waiting request its build."""
        for request in self.requests:
            if request.build is None and not request.withdrawn_by:
                request.build = self.start(request.project)

    # --- BuildReader

    def fetch(self, key: SubjectKey, *, with_log: bool) -> Event:
        """See `BuildReader`."""
        run = self._run(key)
        facts, phase = run.facts, Phase.FINISHED if run.is_finished else Phase.RUNNING
        if with_log and run.log:
            tests = (FailedTest("tests.Sum.test_sum", run.log[1]),)
            facts = replace(facts, failed_tests=tests, log_excerpt="\n".join(run.log))
        assert facts.started_at is not None
        return Event(
            source=self.source,
            delivery_key=f"fake.{key.project}.{key.number}.{phase.name}.{hash(facts):x}",
            kind=EventKind.BUILD_ENRICHED if run.is_finished else EventKind.BUILD_PROGRESSED,
            subject=key,
            occurred_at=facts.finished_at or facts.started_at,
            phase=phase,
            facts=facts,
            generation=int(facts.started_at.timestamp()),
        )

    def list_builds(self, project: str, limit: int) -> Sequence[Build]:
        """See `BuildReader`."""
        self._reach("list_builds")
        self._know(project)
        runs = [run for run in self.runs.values() if run.key.project == project]
        return [
            Build(run.key, 1, Phase.FINISHED if run.is_finished else Phase.RUNNING, run.facts)
            for run in list(reversed(runs))[:limit]
        ]

    def between(self, project: str, old: Version, new: Version, limit: int) -> Between:
        """See `BuildReader`: each build brought the one commit that it was built of."""
        self._reach("between")
        known = [run.facts for run in self.runs.values() if run.key.project == project]
        built = [one.commit for one in known]
        first, last = (  # a commit came when it was first built
            built.index(version.commit) + 1 if version.commit in built else int(version.build.rpartition("#")[2])
            for version in (old, new)
        )
        if last < first:
            return Between(branch=known[last - 1].branch or "", is_back=True)
        runs = known[first:last]
        branch = known[last - 1].branch or ""
        own, aside = ([one for one in reversed(runs) if (one.branch == branch) is is_own] for is_own in (True, False))
        told = [
            [Commit(one.commit, one.commit_title or "", one.author or "") for one in some if one.commit]
            for some in (own, aside)
        ]
        commits = list(takewhile(lambda commit: commit.revision != old.commit, told[0]))
        is_all = len(commits) <= self.tells_commits
        return Between(commits[: min(limit, self.tells_commits)], told[1], branch, is_all)

    def read_log(self, key: SubjectKey, *, max_lines: int) -> str:
        """See `BuildReader`."""
        return "\n".join(self._run(key).log[-max_lines:])

    # --- BuildHistory

    def begun_since(self, mark: str, limit: int) -> Begun:
        """See `BuildHistory`."""
        self._reach("begun_since")
        newest = len(self.runs)
        if not mark:
            return Begun((), f"{newest}.{newest}")
        told, seen = (int(number) for number in mark.split("."))
        if newest < seen:
            return Begun((), f"0.{newest}")
        until = min(seen, told + limit)
        events = tuple(self.fetch(key, with_log=False) for key in list(self.runs)[told:until])
        is_all = until == seen
        return Begun(events, f"{until}.{newest if is_all else seen}", is_all)

    # --- BuildControl

    def retry(self, key: SubjectKey, *, correlation: str, asked_by: str) -> Triggered:
        """See `BuildControl`."""
        self._reach("retry")
        if not self._run(key).is_finished:
            raise Conflict("This build is still running; it can be retried when it has ended.")
        return self._trigger(FakeRequest(correlation, self.now, key.project, asked_by, {}, key))

    def run(self, project: str, parameters: Mapping[str, str], *, correlation: str, asked_by: str) -> Triggered:
        """See `BuildControl`."""
        self._reach("run")
        self._know(project)
        if unknown := set(parameters) - set(self.parameters):
            raise Rejected(self.source, "unknown_parameter", ", ".join(sorted(unknown)))
        return self._trigger(FakeRequest(correlation, self.now, project, asked_by, dict(parameters), None))

    def cancel(self, key: SubjectKey, *, asked_by: str) -> bool:
        """See `BuildControl`."""
        run = self._run(key)
        if run.is_finished:
            return False
        self.finish(key, BuildStatus.CANCELLED)
        run.facts = replace(run.facts, summary=f"cancelled (asked by {asked_by})")
        self._answer()
        return True

    def find_run(
        self, project: str, *, correlation: str, since: datetime, retried: SubjectKey | None
    ) -> Triggered | None:
        """See `BuildControl`."""
        self._reach("find_run")
        self._know(project)
        for number, request in enumerate(self.requests, 1):
            same = (project, correlation, retried) == (request.project, request.correlation, request.retried)
            if same and request.at >= since:
                return Triggered(str(number), request.build)
        return None

    def follow(self, project: str, request: str) -> SubjectKey | None:
        """See `BuildControl`."""
        self._reach("follow")
        self._know(project)
        if not request.isdigit() or not 0 < int(request) <= len(self.requests):
            raise DestinationGone(self.source, "request_gone")
        known = self.requests[int(request) - 1]
        if known.project != project:
            raise DestinationGone(self.source, "other_builder")
        if known.withdrawn_by:
            raise DestinationGone(self.source, "request_cancelled")
        return known.build

    def withdraw(self, project: str, request: str, *, asked_by: str) -> None:
        """See `BuildControl`."""
        self._reach("withdraw")
        if self.follow(project, request) is None:
            self.requests[int(request) - 1].withdrawn_by = asked_by
        self._answer()

    def _trigger(self, request: FakeRequest) -> Triggered:
        self.requests.append(request)
        if not self.queues:
            self.begin_queued()
        self._answer()
        return Triggered(str(len(self.requests)))

    def _answer(self) -> None:
        if self.loses_answers:
            raise OutcomeUnknown(self.source, self.lost_as)

    def _run(self, key: SubjectKey) -> FakeRun:
        self._know(key.project)
        if key not in self.runs:
            raise DestinationGone(self.source, "no_such_build", key.short)
        return self.runs[key]

    def _reach(self, call: str) -> None:
        if call in self.away:
            raise Unavailable(self.source, "connection_refused")

    def _know(self, project: str) -> None:
        if project not in self.projects:
            raise DestinationGone(self.source, "unknown_project", project)


@dataclass(slots=True)
class FakeClock:
    """Time that stands until a test moves it."""

    at: datetime = EPOCH

    def now(self) -> datetime:
        """See `Clock`."""
        return self.at

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.at += timedelta(seconds=seconds)


@dataclass(slots=True)
class FakeIds:
    """Identifiers in order."""

    count: int = 0

    def new(self) -> str:
        """See `Ids`."""
        self.count += 1
        return f"{self.count:026}"


@dataclass(slots=True)
class Call:
    """One call of a FakeMessenger that was carried out."""

    at: datetime
    operation: Operation
    place: str
    ref: str
    content: Content
    parent: str | None = None

    @property
    def title(self) -> str:
        """What a reader sees first."""
        content = self.content
        return content.title if isinstance(content, Card) else _plain(content)


def _plain(notice: Notice) -> str:
    return "".join(getattr(part, "text", getattr(part, "name", "")) for part in notice.body)


@dataclass(slots=True)
class FakeMessenger:
    """A chat platform in memory. `fails` holds errors, and what to do before them, for the next calls to a place.

    A failure `(error, is_done)` with `is_done` carries the call out and raises all the same: the answer was lost.
    While it `is_away` nobody answers; to find a post takes so many `pages`. With `held_s` it is slow: posts are made so
    many seconds later, and nobody waits for their answers; with `holds_changes`, so are changes.
    """

    clock: FakeClock
    platform: str = "slack"
    can_edit: bool = True
    can_thread: bool = True
    can_find: bool = True
    can_upload: bool = False
    is_idempotent: bool = False
    refuses_edits: bool = False
    place_interval_s: float = 1.0
    account: Mapping[Operation, Sequence[Window]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    posts: dict[tuple[str, str], Call] = field(default_factory=dict)
    attempts: dict[str, str] = field(default_factory=dict)
    fails: dict[str, list[tuple[Exception, bool]]] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    moved: dict[str, str] = field(default_factory=dict)
    is_away: bool = False
    asked_at: list[datetime] = field(default_factory=list)
    pages: int = 1
    held_s: float = 0.0
    holds_changes: bool = False
    held: list[tuple[datetime, Callable[[datetime], object]]] = field(default_factory=list)
    before_send: Callable[[], None] = lambda: None
    renders: Callable[[Content], None] = lambda _content: None

    @property
    def asked(self) -> int:
        """How many questions for a post came, by their pages."""
        return len(self.asked_at)

    def fail(self, place: str, *errors: Exception, is_done: bool = False) -> None:
        """Let the next calls to a place fail."""
        self.fails.setdefault(place, []).extend((error, is_done) for error in errors)

    def delete(self, place: str, ref: str) -> None:
        """What a person does with a post they do not like."""
        del self.posts[place, ref]

    def titles(self, place: str) -> list[str]:
        """What was shown at a place, call by call."""
        return [call.title for call in self.calls if call.place == place]

    def standing(self, place: str) -> list[str]:
        """What stands at a place now."""
        self._catch_up()
        return [call.title for (at, _), call in self.posts.items() if at == place]

    def resolve(self, address: str) -> Place:
        """See `Messenger`: `slack:#ci` is `slack:T/ci`."""
        if address in self.unknown:
            raise DestinationGone(self.platform, "channel_not_found")
        name = address.partition(":")[2]
        return Place(self.moved.get(address, f"{self.platform}:T/{name.lstrip('#')}"), name)

    def capabilities(self, place: Place) -> Capabilities:
        """See `Messenger`."""
        budget = Budget(place.key, self.place_interval_s)
        return Capabilities(
            self.can_edit, self.can_thread, self.can_find, budget, self.account, self.can_upload, self.is_idempotent
        )

    def render(self, content: Content, place: Place) -> Rendered:
        """See `Messenger`."""
        self.renders(content)
        said = json.dumps(asdict(content), default=str, sort_keys=True)
        return Rendered({"content": content}, hashlib.sha256(said.encode()).hexdigest())

    def send(
        self, place: Place, rendered: Rendered, *, attempt_id: str, ref: str | None = None, parent: str | None = None
    ) -> str:
        """See `Messenger`."""
        self.before_send()
        self._catch_up()
        if self.is_away:
            raise OutcomeUnknown(self.platform, "no_answer") if ref is None else Unavailable(self.platform, "no_answer")
        scripted = self.fails.get(place.key)
        error, is_done = scripted.pop(0) if scripted else (None, True)
        if error is not None and not is_done:
            raise error
        if place.key in self.gone:
            raise DestinationGone(self.platform, "channel_not_found")
        if ref is not None and (place.key, ref) not in self.posts:
            raise DestinationGone(self.platform, "message_not_found")
        if ref is not None and self.refuses_edits:
            raise DestinationGone(self.platform, "cannot_edit")
        make = partial(self._make, place, rendered.payload["content"], attempt_id, ref, parent)
        if self.held_s and (ref is None or self.holds_changes):
            self.held.append((self.clock.at + timedelta(seconds=self.held_s), make))
            self.clock.advance(HANGS_UP_S)
            raise OutcomeUnknown(self.platform, "timeout")
        made = make(self.clock.at)
        if error is not None:
            raise error
        return made

    def _make(
        self, place: Place, content: Content, attempt_id: str, ref: str | None, parent: str | None, at: datetime
    ) -> str:
        operation = Operation.UPDATE if ref is not None else Operation.POST
        if operation is Operation.POST and self.is_idempotent and attempt_id in self.attempts:
            return self.attempts[attempt_id]
        ref = ref or f"m{len(self.calls) + 1}"
        call = Call(at, operation, place.key, ref, content, parent)
        self.calls.append(call)
        self.posts[place.key, ref] = call
        if operation is Operation.POST:
            self.attempts[attempt_id] = ref
        return ref

    def _catch_up(self) -> None:
        """Carry out what was held for long enough."""
        now = self.clock.at
        due, self.held = [one for one in self.held if one[0] <= now], [one for one in self.held if one[0] > now]
        for at, make in sorted(due, key=lambda one: one[0]):
            make(at)

    def find(
        self,
        place: Place,
        *,
        attempt_id: str,
        since: datetime,
        parent: str | None = None,
        more: Callable[[], None] = nothing_more,
    ) -> str | None:
        """See `Messenger`."""
        for page in range(self.pages):
            if page:
                more()
            self.asked_at.append(self.clock.at)
        self._catch_up()
        if self.is_away:
            raise Unavailable(self.platform, "no_answer")
        post = self.posts.get((place.key, self.attempts.get(attempt_id, "")))
        return post.ref if post is not None and post.parent == parent else None


@dataclass(slots=True)
class FakeResponder:
    """Keeps what was answered to whom."""

    answers: list[tuple[ReplyTo, Content, Actor]] = field(default_factory=list)
    fails: list[Exception] = field(default_factory=list)
    cannot_whisper: bool = False
    whispers: int = 0
    calls: Calls | None = None

    def spending(self, calls: Calls) -> FakeResponder:
        """See `Responder`."""
        self.calls = calls
        return self

    def respond(self, reply_to: ReplyTo, content: Content, actor: Actor) -> None:
        """See `Responder`."""
        with nullcontext() if self.calls is None else self.calls.made(Place(reply_to.place, ""), Operation.POST):
            self._respond(reply_to, content, actor)

    def _respond(self, reply_to: ReplyTo, content: Content, actor: Actor) -> None:
        if self.fails:
            raise self.fails.pop(0)
        self.answers.append((reply_to, content, actor))

    def whisper(self, reply_to: ReplyTo, content: Content, actor: Actor) -> None:
        """See `Responder`."""
        if self.cannot_whisper:
            raise DestinationGone(reply_to.platform, "not_configured")
        self.respond(reply_to, content, actor)
        self.whispers += 1

    @property
    def said(self) -> list[str]:
        """The answers' first words, in order."""
        return [_plain(content) if isinstance(content, Notice) else content.title for _, content, _ in self.answers]


@dataclass(slots=True)
class FakeDirectory:
    """Knows some people; `fails` holds errors for the next look-ups."""

    people: dict[str, PersonFacts] = field(default_factory=dict)
    fails: list[Exception] = field(default_factory=list)
    looks: int = 0

    def look_up(self, account_id: str) -> PersonFacts:
        """See `Directory`."""
        self.looks += 1
        if self.fails:
            raise self.fails.pop(0)
        return self.people.get(account_id) or PersonFacts(account_id, None, False)
