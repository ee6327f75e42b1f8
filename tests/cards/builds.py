"""Builds as presenters are given them: `builds()["typical"]` and so on."""

from __future__ import annotations

from datetime import timedelta

from bot.domain.builds import Build, BuildFacts, BuildStatus, FailedTest, Phase, Stage, StageStatus
from bot.domain.subjects import SubjectKey, SubjectKind
from tests.cards.cases import BUILD_URL, NASTY, NASTY_LINES, STARTED

KEY = SubjectKey(SubjectKind.BUILD, "buildbot", "user-service", "12")


def builds() -> dict[str, Build]:
    """Every case by its name."""
    return {make.__name__: make() for make in (minimal, typical, longest, hostile, decided, silent)}


def minimal() -> Build:
    """A build of which nothing is known but that it began."""
    return Build(KEY, 1, Phase.RUNNING, BuildFacts())


def typical() -> Build:
    """A failed build with everything that a CI system tells."""
    facts = BuildFacts(
        status=BuildStatus.FAILED,
        branch="feature/log_in",
        commit="9fceb02d0ae598e95dc970b74767f19372d61af8",
        commit_title="Log in with a one-time code",
        author="Chen Wei 陈伟",
        triggered_by="张敏",
        started_at=STARTED,
        finished_at=STARTED + timedelta(seconds=185),
        url=BUILD_URL,
        summary="1 test failed",
        stages=(
            Stage("checkout", StageStatus.SUCCESS, 2.04),
            Stage("test", StageStatus.FAILED, 41.0),
            Stage("package", StageStatus.SKIPPED),
        ),
        failed_tests=(
            FailedTest("test_log_in.py::test_wrong_password", "assert 500 == 401\nmore"),
            FailedTest("test_b"),
        ),
        log_excerpt="\n".join(f"line {number}" for number in range(20)) + "\nE   assert 500 == 401\n",
    )
    return Build(KEY, 1, Phase.FINISHED, facts)


def longest() -> Build:
    """More stages, tests and log than a card shows, still running in its third attempt."""
    stages = [Stage(f"阶段 stage {number}", StageStatus.SUCCESS, number * 61.0) for number in range(70)]
    stages[3] = Stage("broken early", StageStatus.FAILED, 4000.0)
    stages[69] = Stage("still going", StageStatus.RUNNING)
    facts = BuildFacts(
        status=BuildStatus.RUNNING,
        branch="long/" + "枝" * 200,
        commit="f" * 64,
        commit_title="标题 title " * 40,
        author="名 " * 80,
        started_at=STARTED,
        url=BUILD_URL,
        stages=tuple(stages),
        failed_tests=tuple(FailedTest(f"test_{number}", "详情 detail " * 60) for number in range(90)),
        log_excerpt="x" * 10_000,
    )
    return Build(KEY, 3, Phase.RUNNING, facts)


def hostile() -> Build:
    """Text from outside that tries to be markup, a mention or a link, in every place that holds text."""
    facts = BuildFacts(
        status=BuildStatus.FAILED,
        branch=NASTY,
        commit=NASTY,
        commit_title=NASTY_LINES,
        author=NASTY,
        triggered_by=NASTY_LINES,
        started_at=STARTED,
        finished_at=STARTED - timedelta(hours=1),
        url="javascript:alert(1)",
        summary=NASTY_LINES,
        stages=(Stage(NASTY, StageStatus.UNKNOWN, 0.0), Stage("", StageStatus.WARNING, 59.6)),
        failed_tests=(FailedTest(NASTY, NASTY_LINES), FailedTest("", "\n\n"), FailedTest("blank first", "\nthen why")),
        log_excerpt=NASTY_LINES,
    )
    return Build(SubjectKey(SubjectKind.BUILD, "buildbot", "用户 {name} <b>", "12"), 1, Phase.FINISHED, facts)


def decided() -> Build:
    """A build that somebody retried: it offers no second retry."""
    facts = BuildFacts(
        status=BuildStatus.CANCELLED,
        branch="main",
        started_at=STARTED,
        finished_at=STARTED + timedelta(hours=2, minutes=10, seconds=4),
        url=BUILD_URL,
        retried_as="user-service#13",
        retried_by="张敏",
    )
    return Build(KEY, 1, Phase.FINISHED, facts)


def silent() -> Build:
    """A build of which nothing was heard for so long that it was ended."""
    facts = BuildFacts(status=BuildStatus.UNKNOWN, branch="main", started_at=STARTED, url=BUILD_URL, silent_days=7)
    return Build(KEY, 1, Phase.FINISHED, facts)
