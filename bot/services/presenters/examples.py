"""Examples for `shipmate preview`: builds in each state that people meet, a digest of many, and a deployment."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from bot.domain.builds import Build, BuildFacts, BuildStatus, FailedTest, Phase, Stage, StageStatus
from bot.domain.checks import CheckProgress, Verdict
from bot.domain.deployments import Approval, Change, Deployment, DeploymentState, Requester, Run, Terms, Version
from bot.domain.noise import Digest
from bot.domain.subjects import SubjectKey, SubjectKind

_STARTED = datetime(2026, 11, 20, 9, 41, 7, tzinfo=UTC)
_KEY = SubjectKey(SubjectKind.BUILD, "buildbot", "user-service", "123")
_BEGUN = BuildFacts(
    status=BuildStatus.RUNNING,
    branch="main",
    commit="9fceb02d0ae598e95dc970b74767f19372d61af8",
    commit_title="Log in with a one-time code",
    author="陈伟 Chen Wei",
    started_at=_STARTED,
    url="https://ci.example.com/#/builders/1/builds/123",
    stages=(
        Stage("checkout", StageStatus.SUCCESS, 2.0),
        Stage("unit tests", StageStatus.RUNNING),
        Stage("package", StageStatus.PENDING),
    ),
)
_FAILED = replace(
    _BEGUN,
    status=BuildStatus.FAILED,
    finished_at=_STARTED + timedelta(seconds=48),
    summary="1 of 6 tests failed",
    stages=(
        Stage("checkout", StageStatus.SUCCESS, 2.0),
        Stage("unit tests", StageStatus.FAILED, 46.0),
        Stage("package", StageStatus.SKIPPED),
    ),
    failed_tests=(FailedTest("ProfileTest.test_known_person", "AssertionError: None != 'Ada Nowak'"),),
    log_excerpt="FAIL: test_known_person (test_profiles.ProfileTest)\nAssertionError: None != 'Ada Nowak'\n"
    "Ran 6 tests in 0.002s\nFAILED (failures=1)",
)
_GREEN = replace(
    _BEGUN,
    status=BuildStatus.SUCCESS,
    finished_at=_STARTED + timedelta(seconds=61),
    stages=(
        Stage("checkout", StageStatus.SUCCESS, 2.0),
        Stage("unit tests", StageStatus.SUCCESS, 44.0),
        Stage("package", StageStatus.SUCCESS, 15.0),
    ),
)
_STOPPED = replace(
    _BEGUN,
    status=BuildStatus.CANCELLED,
    finished_at=_STARTED + timedelta(seconds=12),
    stages=(
        Stage("checkout", StageStatus.SUCCESS, 2.0),
        Stage("unit tests", StageStatus.CANCELLED, 10.0),
        Stage("package", StageStatus.SKIPPED),
    ),
)

EXAMPLES: dict[str, Build] = {
    "running": Build(_KEY, 1, Phase.RUNNING, _BEGUN),
    "failed": Build(_KEY, 1, Phase.FINISHED, _FAILED),
    "fixed": Build(_KEY, 1, Phase.FINISHED, _GREEN, is_fixed=True),
    "cancelled": Build(_KEY, 1, Phase.FINISHED, _STOPPED),
    "retried": Build(_KEY, 1, Phase.FINISHED, replace(_FAILED, retried_as="user-service#124", retried_by="张敏")),
}
EXAMPLE_ZONES = {"en": "Europe/Berlin", "zh-CN": "Asia/Shanghai"}
_STORM = tuple(
    Build(
        SubjectKey(SubjectKind.BUILD, "buildbot", project, str(number)),
        1,
        Phase.RUNNING if status is BuildStatus.RUNNING else Phase.FINISHED,
        replace(_BEGUN, status=status, branch=branch),
    )
    for project, number, status, branch in (
        ("user-service", 123, BuildStatus.FAILED, "main"),
        ("billing", 88, BuildStatus.FAILED, "release/2.4"),
        ("web", 1204, BuildStatus.RUNNING, "main"),
        ("search", 57, BuildStatus.CANCELLED, "main"),
        ("mail", 31, BuildStatus.SUCCESS, "main"),
    )
)
EXAMPLE_DIGEST = Digest(
    SubjectKey(SubjectKind.DIGEST, "storm", "slack:T024/C0G9QF9GZ", "1795233600000"),
    {BuildStatus.FAILED: 2, BuildStatus.RUNNING: 1, BuildStatus.CANCELLED: 1, BuildStatus.SUCCESS: 38},
    _STORM,
)
_ASKED = _STARTED.timestamp()
EXAMPLE_DEPLOYMENT = Deployment(
    17,
    "user-service",
    "production",
    Version("v1.4", _BEGUN.commit or "", str(_KEY)),
    Requester("slack:U024ALICE01", "Alice"),
    _ASKED,
    state=DeploymentState.VERIFYING,
    previous=Version("v1.3"),
    terms=Terms(2, ("release",)),
    approvals=(
        Approval("dingtalk:manager4220", "张敏", _ASKED + 60),
        Approval("slack:U024CHENWEI", "陈伟 Chen Wei", _ASKED + 95, "tried it in staging"),
    ),
    run=Run(_ASKED + 96, url="https://ci.example.com/#/builders/2/builds/31"),
    checks=(
        CheckProgress("health", Verdict.PASSED, limit="HTTP 200"),
        CheckProgress("errors", limit="≤ 0.01", last_value=0.0042),
    ),
    changes=(Change(_BEGUN.commit or "", "Log in with a one-time code", "陈伟 Chen Wei", ("USER-12",)),),
    issues=("USER-12",),
    started_at=_ASKED + 96,
)
