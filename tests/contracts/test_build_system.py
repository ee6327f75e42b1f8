"""What every CI system behind the ports BuildReader and BuildControl promises, the fake and the real one alike."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Protocol

import pytest
import requests

from bot.domain.builds import BuildStatus, Phase, StageStatus
from bot.domain.deployments import Version
from bot.domain.events import Event, EventKind
from bot.domain.subjects import SubjectKey
from bot.errors import Conflict, DestinationGone, OutcomeUnknown, Rejected
from bot.ports import BuildControl, BuildHistory, BuildReader, Triggered
from bot.system import SystemClock
from integrations.buildbot import SPEC
from tests.build_fakes import FakeBuildSystem
from tests.buildbot_server import BuildbotServer, wait_for
from tests.network import LosingAdapter

PROJECT = "user-service"
SLOW = "slow-service"
_ids = itertools.count(1)


class Bench(Protocol):
    """A system under test, with what a test needs to bring it into a state."""

    reader: BuildReader
    control: BuildControl
    history: BuildHistory

    def now(self) -> datetime:
        """The clock of the bot that asks."""

    def failed_build(self) -> SubjectKey:
        """A build of `PROJECT` that has just failed."""

    def running_build(self) -> SubjectKey:
        """A build of `SLOW` that has just started."""

    def queued(self) -> tuple[SubjectKey, Triggered]:
        """A running build of `SLOW`, and a request that waits for its end."""

    def lose_answers(self, lost: bool) -> None:
        """Let control calls happen without anybody hearing of it."""


class FakeBench:
    """The fake."""

    def __init__(self) -> None:
        self.system = FakeBuildSystem(projects=(PROJECT, SLOW))
        self.reader: BuildReader = self.system
        self.control: BuildControl = self.system
        self.history: BuildHistory = self.system

    def now(self) -> datetime:
        return self.system.now

    def failed_build(self) -> SubjectKey:
        key = self.system.start(PROJECT)
        self.system.finish(key)
        return key

    def running_build(self) -> SubjectKey:
        return self.system.start(SLOW)

    def queued(self) -> tuple[SubjectKey, Triggered]:
        running, self.system.queues = self.running_build(), True
        return running, self.control.run(SLOW, {}, correlation=correlation(), asked_by="Ada")

    def lose_answers(self, lost: bool) -> None:
        self.system.loses_answers = lost


class BuildbotBench:
    """A real Buildbot."""

    def __init__(self, server: BuildbotServer, session: requests.Session) -> None:
        self.server = server
        self.adapter = LosingAdapter()
        session.mount("http://", self.adapter)
        config = SPEC.config.model_validate(
            {
                "url": server.url,
                "user": server.username,
                "password": server.password,
                "webhook_token": server.bot_token,
                "projects": {PROJECT: {"builder": PROJECT}, SLOW: {"builder": SLOW}},
            }
        )
        source = SPEC.build("buildbot", config, session, SystemClock())
        assert source.reader is not None
        assert source.control is not None
        assert source.history is not None
        self.reader, self.control, self.history = source.reader, source.control, source.history

    def now(self) -> datetime:
        return datetime.now(UTC)

    def failed_build(self) -> SubjectKey:
        self.server.forget_cache()
        build = self.server.force(PROJECT)
        self.server.finished(build["buildid"])
        return self._key(PROJECT, build)

    def running_build(self) -> SubjectKey:
        build = self.server.force(SLOW)
        wait_for(lambda: len(self.server.steps(build["buildid"])) > 1, "the first step")
        return self._key(SLOW, build)

    def queued(self) -> tuple[SubjectKey, Triggered]:
        return self.running_build(), self.control.run(SLOW, {}, correlation=correlation(), asked_by="Ada")

    def lose_answers(self, lost: bool) -> None:
        self.adapter.loses_posts = lost

    def _key(self, project: str, build: dict[str, Any]) -> SubjectKey:
        return SubjectKey.parse(f"build:buildbot/{project}#{build['number']}")


@pytest.fixture(params=["fake", pytest.param("buildbot", marks=pytest.mark.buildbot)])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """The fake, and the real Buildbot."""
    if request.param == "fake":
        yield FakeBench()
        return
    with requests.Session() as session:
        session.trust_env = False
        yield BuildbotBench(request.getfixturevalue("buildbot_server"), session)


def correlation() -> str:
    """An id that no other test uses."""
    return f"01CONTRACT{time.time_ns():x}{next(_ids)}".upper()


def followed(bench: Bench, project: str, triggered: Triggered) -> SubjectKey:
    """The build that a request becomes."""
    found: Callable[[], SubjectKey | None] = lambda: bench.control.follow(project, triggered.request)  # noqa: E731
    key = wait_for(found, f"the build of request {triggered.request}")
    assert key is not None
    return key


def ended(bench: Bench, key: SubjectKey) -> Event:
    """What is known of a build once it has ended."""
    if isinstance(bench, FakeBench) and not bench.system.runs[key].is_finished:
        bench.system.finish(key, BuildStatus.SUCCESS)
    event = wait_for(
        lambda: event if (event := bench.reader.fetch(key, with_log=True)).phase is Phase.FINISHED else None,
        f"the end of {key}",
    )
    assert event is not None
    return event


def test_a_failed_build_is_read_with_stages_tests_and_log(bench: Bench) -> None:
    """A person sees which stage failed, which test, and the lines that say why."""
    key = bench.failed_build()
    event = bench.reader.fetch(key, with_log=True)
    assert (event.kind, event.phase, event.subject) == (EventKind.BUILD_ENRICHED, Phase.FINISHED, key)
    facts = event.facts
    assert facts.status is BuildStatus.FAILED
    assert facts.stages is not None
    assert facts.failed_tests is not None
    assert facts.log_excerpt is not None
    assert facts.stages[-1].status is StageStatus.FAILED
    assert facts.failed_tests[0].name.startswith("tests.")
    assert "AssertionError" in facts.failed_tests[0].detail
    assert "FAILED (failures=1)" in facts.log_excerpt.splitlines()  # what the test printed may be read after it
    assert event.generation == int(facts.started_at.timestamp()) if facts.started_at else False


def test_a_running_build_is_read_with_its_stages(bench: Bench) -> None:
    """A card can follow a build whose source sends nothing between start and end."""
    key = bench.running_build()

    def is_seen_within_a_stage() -> bool:  # and not between two of them
        event = bench.reader.fetch(key, with_log=False)
        assert (event.kind, event.phase) == (EventKind.BUILD_PROGRESSED, Phase.RUNNING)
        assert event.facts.status is BuildStatus.RUNNING
        assert event.facts.stages is not None
        return event.facts.stages[-1].status is StageStatus.RUNNING

    wait_for(is_seen_within_a_stage, "a stage that runs")
    bench.control.cancel(key, asked_by="Ada")


def test_what_did_not_change_is_the_same_delivery(bench: Bench) -> None:
    """Asking again about an unchanged build adds no event; a changed one differs."""
    key = bench.running_build()
    before = bench.reader.fetch(key, with_log=False)
    bench.control.cancel(key, asked_by="Ada")
    after = bench.reader.fetch(key, with_log=False)
    assert after.delivery_key == bench.reader.fetch(key, with_log=False).delivery_key
    assert before.delivery_key != after.delivery_key
    assert before.generation == after.generation


def test_builds_are_listed_newest_first(bench: Bench) -> None:
    """`builds user-service` shows the newest build on top, and no more than asked for."""
    older, newer = bench.failed_build(), bench.failed_build()
    assert [build.key for build in bench.reader.list_builds(PROJECT, 2)] == [newer, older]
    assert len(bench.reader.list_builds(PROJECT, 1)) == 1


def test_between_builds_of_one_commit_lies_nothing(bench: Bench) -> None:
    """Building the same again brings no commit, and that is certain."""
    older, newer = (Version("x", "", str(bench.failed_build())) for _ in range(2))
    told = bench.reader.between(PROJECT, older, newer, 10)
    assert (list(told.commits), list(told.aside), told.is_all) == ([], [], True)


def test_builds_that_nobody_told_of_are_in_the_history(bench: Bench) -> None:
    """What began since the last call is told by the next but one, once, in its order and as it stands by then."""
    mark = bench.history.begun_since("", 50).mark
    assert bench.history.begun_since(mark, 50).events == ()
    first, second = bench.failed_build(), bench.running_build()
    found = bench.history.begun_since(mark, 50)
    assert (found.events, found.is_all) == ((), True)  # whoever tells of them by itself may still be about to
    found = bench.history.begun_since(found.mark, 50)
    assert [event.subject for event in found.events] == [first, second]
    assert [event.phase for event in found.events] == [Phase.FINISHED, Phase.RUNNING]
    assert found.events[0].facts.status is BuildStatus.FAILED
    read = bench.reader.fetch(first, with_log=False)
    assert (found.events[0].generation, found.events[0].facts.url) == (read.generation, read.facts.url)
    assert bench.history.begun_since(found.mark, 50).events == ()
    bench.control.cancel(second, asked_by="Ada")


def test_a_long_history_is_read_in_parts(bench: Bench) -> None:
    """Never more at a time than asked for, nothing left out and nothing twice."""
    mark = bench.history.begun_since("", 50).mark
    keys = [bench.failed_build() for _ in range(3)]
    mark = bench.history.begun_since(mark, 2).mark
    first = bench.history.begun_since(mark, 2)
    second = bench.history.begun_since(first.mark, 2)
    assert [event.subject for event in (*first.events, *second.events)] == keys
    assert (first.is_all, second.is_all) == (False, True)


def test_the_log_that_matters_is_read(bench: Bench) -> None:
    """`log` tells the last lines of the failed stage, as few as asked for; what it wrote to two pipes has no order."""
    key = bench.failed_build()
    log = bench.reader.read_log(key, max_lines=3)
    assert "FAILED (failures=1)" in log.splitlines()
    assert len(log.splitlines()) <= 3


def test_an_unknown_build_is_gone(bench: Bench) -> None:
    """A number that never was, and an unknown project, are said to be so, whatever is asked."""
    for text in (f"build:buildbot/{PROJECT}#99999", "build:buildbot/no-such-project#1", f"build:buildbot/{PROJECT}#x"):
        key = SubjectKey.parse(text)
        with pytest.raises(DestinationGone):
            bench.reader.fetch(key, with_log=True)
        with pytest.raises(DestinationGone):
            bench.reader.read_log(key, max_lines=5)
        with pytest.raises(DestinationGone):
            bench.control.retry(key, correlation=correlation(), asked_by="Ada")
        with pytest.raises(DestinationGone):
            bench.control.cancel(key, asked_by="Ada")
    with pytest.raises(DestinationGone):
        bench.reader.list_builds("no-such-project", 5)
    with pytest.raises(DestinationGone):
        bench.control.run("no-such-project", {}, correlation=correlation(), asked_by="Ada")


def test_a_retry_runs_the_build_again(bench: Bench) -> None:
    """Retry starts a new build of the same project, under a number of its own."""
    key = bench.failed_build()
    again = followed(bench, PROJECT, bench.control.retry(key, correlation=correlation(), asked_by="Ada"))
    assert (again.project, again.source) == (key.project, key.source)
    assert again != key
    assert ended(bench, again).facts.status is BuildStatus.SUCCESS


def test_a_running_build_is_not_retried(bench: Bench) -> None:
    """Retrying what still runs is refused with a sentence, and starts nothing."""
    key = bench.running_build()
    with pytest.raises(Conflict, match="still running"):
        bench.control.retry(key, correlation=correlation(), asked_by="Ada")
    assert bench.reader.list_builds(SLOW, 1)[0].key == key
    bench.control.cancel(key, asked_by="Ada")


def test_a_run_starts_with_parameters_and_unknown_ones_are_refused(bench: Bench) -> None:
    """`run user-service version=1.2` starts a build; a mistyped parameter is named and starts none."""
    asked = correlation()
    started = bench.control.run(PROJECT, {"version": "1.2"}, correlation=asked, asked_by="Ada")
    key = followed(bench, PROJECT, started)
    ended(bench, key)
    assert bench.control.follow(PROJECT, started.request, correlation=asked) == key
    with pytest.raises(DestinationGone):
        bench.control.follow(PROJECT, started.request, correlation=correlation())
    with pytest.raises(Rejected, match="versoin"):
        bench.control.run(PROJECT, {"versoin": "1.2"}, correlation=correlation(), asked_by="Ada")
    assert bench.reader.list_builds(PROJECT, 1)[0].key == key


def test_cancel_stops_and_says_when_there_was_nothing_to_stop(bench: Bench) -> None:
    """A cancelled build ends as cancelled and names who asked; a failed one is said to have ended already."""
    key = bench.running_build()
    assert bench.control.cancel(key, asked_by="王磊") is True
    event = bench.reader.fetch(key, with_log=False)
    assert event.facts.status is BuildStatus.CANCELLED
    assert event.facts.summary is not None
    assert "王磊" in event.facts.summary
    assert bench.control.cancel(bench.failed_build(), asked_by="王磊") is False


def test_a_run_whose_answer_was_lost_is_found(bench: Bench) -> None:
    """After a lost answer the run is found by its correlation, and by no other."""
    asked, since = correlation(), bench.now()
    bench.lose_answers(True)
    with pytest.raises(OutcomeUnknown):
        bench.control.run(PROJECT, {}, correlation=asked, asked_by="Ada")
    bench.lose_answers(False)
    found = bench.control.find_run(PROJECT, correlation=asked, since=since, retried=None)
    assert found is not None
    ended(bench, followed(bench, PROJECT, found))
    assert bench.control.find_run(PROJECT, correlation=correlation(), since=since, retried=None) is None


def test_a_retry_whose_answer_was_lost_is_found(bench: Bench) -> None:
    """After a lost answer the retry is found; before it, there certainly is none."""
    key = bench.failed_build()
    asked, since = correlation(), bench.now()
    assert bench.control.find_run(PROJECT, correlation=asked, since=since, retried=key) is None
    bench.lose_answers(True)
    with pytest.raises(OutcomeUnknown):
        bench.control.retry(key, correlation=asked, asked_by="Ada")
    bench.lose_answers(False)
    found = bench.control.find_run(PROJECT, correlation=asked, since=since, retried=key)
    assert found is not None
    again = followed(bench, PROJECT, found)
    ended(bench, again)
    assert bench.reader.list_builds(PROJECT, 1)[0].key == again


def test_an_unknown_request_is_gone(bench: Bench) -> None:
    """A request that the system has forgotten is not waited for."""
    with pytest.raises(DestinationGone):
        bench.control.follow(PROJECT, "999999")


def test_a_request_in_the_queue_is_taken_back(bench: Bench) -> None:
    """It never becomes a build, and is said to have been cancelled; by another project's name nobody gets at it."""
    running, waiting = bench.queued()
    assert bench.control.follow(SLOW, waiting.request) is None
    with pytest.raises(DestinationGone) as caught:
        bench.control.withdraw(PROJECT, waiting.request, asked_by="王磊")
    assert caught.value.reason == "other_builder"
    bench.control.withdraw(SLOW, waiting.request, asked_by="王磊")

    def dropped() -> str:
        try:
            bench.control.follow(SLOW, waiting.request)
        except DestinationGone as problem:
            return problem.reason
        return ""

    assert wait_for(dropped, "the end of the request") == "request_cancelled"
    assert bench.control.cancel(running, asked_by="王磊") is True
