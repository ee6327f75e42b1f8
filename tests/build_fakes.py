"""A stand-in for a CI system, kept honest by the contract suite of build systems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import takewhile

from bot.domain.builds import Build, BuildFacts, BuildStatus, FailedTest, Phase, Stage, StageStatus
from bot.domain.deployments import Version
from bot.domain.events import Event, EventKind
from bot.domain.subjects import SubjectKey, SubjectKind
from bot.errors import Conflict, DestinationGone, OutcomeUnknown, Rejected, Unavailable
from bot.ports import Begun, Between, Commit, Triggered
from tests.fakes import EPOCH


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

    def follow(self, project: str, request: str, *, correlation: str = "") -> SubjectKey | None:
        """See `BuildControl`."""
        self._reach("follow")
        self._know(project)
        if not request.isdigit() or not 0 < int(request) <= len(self.requests):
            raise DestinationGone(self.source, "request_gone")
        known = self.requests[int(request) - 1]
        if known.project != project:
            raise DestinationGone(self.source, "other_builder")
        if correlation not in ("", known.correlation):
            raise DestinationGone(self.source, "other_request")
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
