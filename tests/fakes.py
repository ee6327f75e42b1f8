"""Hand-written stand-ins for ports, kept honest by the contract suites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from bot.domain.builds import Build, BuildFacts, BuildStatus, FailedTest, Phase, Stage, StageStatus
from bot.domain.events import Event, EventKind
from bot.domain.subjects import SubjectKey, SubjectKind
from bot.errors import Conflict, DestinationGone, OutcomeUnknown, Rejected
from bot.ports import Triggered

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


@dataclass(slots=True)
class FakeBuildSystem:
    """A CI system in memory: BuildReader and BuildControl. Tests start and end its builds.

    `loses_answers` lets control calls happen and raise OutcomeUnknown all the same; `queues` lets requests wait until
    `begin_queued`. `parameters` are those that every project takes.
    """

    source: str = "buildbot"
    projects: tuple[str, ...] = ("user-service",)
    parameters: tuple[str, ...] = ("version",)
    now: datetime = EPOCH
    loses_answers: bool = False
    queues: bool = False
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
            if request.build is None:
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
        self._know(project)
        runs = [run for run in self.runs.values() if run.key.project == project]
        return [
            Build(run.key, 1, Phase.FINISHED if run.is_finished else Phase.RUNNING, run.facts)
            for run in list(reversed(runs))[:limit]
        ]

    def read_log(self, key: SubjectKey, *, max_lines: int) -> str:
        """See `BuildReader`."""
        return "\n".join(self._run(key).log[-max_lines:])

    # --- BuildControl

    def retry(self, key: SubjectKey, *, correlation: str, asked_by: str) -> Triggered:
        """See `BuildControl`."""
        if not self._run(key).is_finished:
            raise Conflict("This build is still running; it can be retried when it has ended.")
        return self._trigger(FakeRequest(correlation, self.now, key.project, asked_by, {}, key))

    def run(self, project: str, parameters: Mapping[str, str], *, correlation: str, asked_by: str) -> Triggered:
        """See `BuildControl`."""
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
        self._know(project)
        for number, request in enumerate(self.requests, 1):
            if (request.correlation, request.retried) == (correlation, retried) and request.at >= since:
                return Triggered(str(number), request.build)
        return None

    def follow(self, project: str, request: str) -> SubjectKey | None:
        """See `BuildControl`."""
        self._know(project)
        if not request.isdigit() or not 0 < int(request) <= len(self.requests):
            raise DestinationGone(self.source, "request_gone")
        return self.requests[int(request) - 1].build

    def _trigger(self, request: FakeRequest) -> Triggered:
        self.requests.append(request)
        if not self.queues:
            self.begin_queued()
        self._answer()
        return Triggered(str(len(self.requests)))

    def _answer(self) -> None:
        if self.loses_answers:
            raise OutcomeUnknown(self.source, "no_answer")

    def _run(self, key: SubjectKey) -> FakeRun:
        self._know(key.project)
        if key not in self.runs:
            raise DestinationGone(self.source, "no_such_build", key.short)
        return self.runs[key]

    def _know(self, project: str) -> None:
        if project not in self.projects:
            raise DestinationGone(self.source, "unknown_project", project)
