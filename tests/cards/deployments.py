"""Deployments as their presenter is given them: `deployments()["typical"]` and so on."""

from __future__ import annotations

from dataclasses import replace

from bot.domain.checks import CheckProgress, Reason, Verdict
from bot.domain.deployment_effects import BY_ITSELF, TOGETHER
from bot.domain.deployments import (
    ASKED,
    Approval,
    Change,
    Deployment,
    DeploymentKind,
    DeploymentState,
    Requester,
    Run,
    Terms,
    Undoing,
    Version,
)
from tests.cards.cases import BUILD_URL, NASTY, NASTY_LINES, STARTED

AT = STARTED.timestamp()
V1 = Version("v1.3", "1f0c54c1d2e3", "build:buildbot/user-service#11")
V2 = Version("v1.4", "9fceb02d0ae5", "build:buildbot/user-service#12")
ALICE = Requester("slack:U024ALICE01", "Alice")
CHANGES = (
    Change("9fceb02d0ae598e95dc970b74767f19372d61af8", "Log in with a one-time code", "陈伟 Chen Wei", ("USER-12",)),
    Change("77aa01b2c3d4e5f60718293a4b5c6d7e8f901234", "USER-15: shorter sessions", "Alice", ("USER-15",)),
)
TERMS = Terms(2, ("release", "sre"), ("slack:U024CHENWEI", "dingtalk:manager4220"), AT + 4 * 3600)
APPROVALS = (
    Approval("dingtalk:manager4220", "张敏", AT + 60),
    Approval("slack:U024CHENWEI", "陈伟 Chen Wei", AT + 95, "tried it in staging"),
)
RUN = Run(AT + 100, "req-7", "build:buildbot/deploy-user-service#31", BUILD_URL)


def deployments() -> dict[str, Deployment]:
    """Every case by its name."""
    return {make.__name__: make() for make in CASES}


def _check(name: str, limit: str, verdict: Verdict | None, value: float | None = None, **seen: str) -> CheckProgress:
    """A check that was looked at a dozen times."""
    return CheckProgress(
        name,
        verdict,
        AT + 160,
        AT + 460,
        AT + 310,
        measured=12,
        limit=limit,
        last_at=AT + 300,
        last_verdict=verdict or Verdict.PASSED,
        last_value=value,
        last_reason=Reason(seen.get("reason", Reason.WITHIN)),
        last_detail=seen.get("detail", ""),
        warnings=(seen["warning"],) if "warning" in seen else (),
        is_charted=limit.startswith("≤"),
    )


def minimal() -> Deployment:
    """The first one of its service: queued, nothing is known beyond what it is."""
    return Deployment(1, "web", "staging", Version("v1"), ALICE, AT, state=DeploymentState.QUEUED, state_since=AT)


def waiting() -> Deployment:
    """One of two approvals was given."""
    return Deployment(
        17,
        "user-service",
        "production",
        V2,
        ALICE,
        AT,
        reason="the fix is urgent",
        state=DeploymentState.AWAITING_APPROVAL,
        state_since=AT + 30,
        previous=V1,
        terms=TERMS,
        approvals=APPROVALS[:1],
        changes=CHANGES,
        issues=("USER-12", "USER-15"),
    )


def struck() -> Deployment:
    """Both approvals were given, and one of them counts no more: another one is waited for."""
    return replace(
        waiting(),
        state_since=AT + 1800,
        outcome="approval_struck",
        approvals=APPROVALS[:1],
        struck=(Approval("slack:U024CHENWEI", "陈伟 Chen Wei", AT + 1800, "no_role"),),
    )


def typical() -> Deployment:
    """It runs, and its checks look at it."""
    return replace(
        waiting(),
        state=DeploymentState.VERIFYING,
        state_since=AT + 160,
        approvals=APPROVALS,
        started_at=AT + 100,
        run=RUN,
        checks=(
            _check("health", "HTTP 200", Verdict.PASSED),
            _check("errors", "≤ 0.01", None, 0.0042),
            _check("latency", "≤ 1.5×, ≤ +0.05", None, 0.18125),
        ),
    )


def asking() -> Deployment:
    """A check cannot tell: somebody has to; deployed without approvals."""
    return replace(
        typical(),
        terms=replace(TERMS, approvals=0, is_break_glass=True),
        approvals=(),
        question="checks:errors",
        asked_at=AT + 310,
        checks=(
            _check("health", "HTTP 200", Verdict.PASSED),
            _check(
                "errors", "≤ 0.01", Verdict.NO_DATA, reason="no_series", detail="[]", warning="results may be partial"
            ),
        ),
    )


def longest() -> Deployment:
    """As much of everything as can be stored."""
    changes = tuple(
        Change(f"{number:040x}", f"{number} " + "标题 title " * 24, "名 name " * 20, (f"USER-{number}",))
        for number in range(100)
    )
    checks = tuple(
        _check(
            f"检查 check {number}",
            "≤ 0.01, ≥ 0.001",
            Verdict.FAILED,
            1234567.891,
            reason="several_series",
            detail="详情 detail " * 60,
            warning="警告 warning " * 60,
        )
        for number in range(40)
    )
    return replace(
        typical(),
        number=123456789012,
        service="very-long-service-name-" * 4,
        environment="production-in-a-region-" * 4,
        version=Version("release/" + "版" * 190, "f" * 40, "build:buildbot/user-service#99"),
        previous=Version("release/" + "旧" * 190, "e" * 40, "build:buildbot/user-service#1"),
        requester=Requester("slack:U024ALICE01", "名 name " * 20),
        reason="理由 reason " * 27,
        state=DeploymentState.FAILED,
        outcome="checks_failed",
        detail="; ".join(f"检查 check {number}: 详情 detail" for number in range(40))[:500],
        not_rolled_back="irreversible",
        ended_at=AT + 90_000,
        terms=replace(TERMS, approvals=20, approvers=tuple(f"role-{number}" for number in range(20))),
        approvals=tuple(Approval(f"slack:U{number}", f"人 {number} " * 10, AT, "理由 " * 100) for number in range(20)),
        checks=checks,
        changes=changes,
        issues=tuple(f"USER-{number}" for number in range(100)),
    )


def hostile() -> Deployment:
    """Text from outside that tries to be markup, a mention or a link, in every place that holds text."""
    return replace(
        typical(),
        service="用户{name}<b>",
        environment=NASTY,
        version=Version(NASTY, NASTY),
        previous=Version(NASTY_LINES, NASTY),
        requester=Requester("elsewhere:U1", NASTY),
        reason=NASTY_LINES,
        state=DeploymentState.FAILED,
        outcome="elsewhere",
        detail=NASTY_LINES,
        ended_at=AT,
        terms=replace(TERMS, approvers=(NASTY,)),
        approvals=(Approval("slack:U1", NASTY, AT, NASTY_LINES),),
        rejection=Approval("slack:U2", NASTY, AT, NASTY_LINES),
        run=replace(RUN, url="javascript:alert(1)"),
        checks=(
            _check(
                NASTY, NASTY, Verdict.ERROR, float("inf"), reason="unasked", detail=NASTY_LINES, warning=NASTY_LINES
            ),
        ),
        changes=(Change(NASTY, NASTY_LINES, NASTY), Change("", "")),
        issues=(NASTY,) * 3,
    )


def decided() -> Deployment:
    """Rolled back by itself: no action that changes anything is left."""
    return replace(
        typical(),
        state=DeploymentState.ROLLED_BACK,
        state_since=AT + 400,
        outcome="checks_failed",
        detail="errors: 0.23 > 0.01",
        ended_at=AT + 320,
        rolled_back_by=18,
        checks=(
            _check("health", "HTTP 200", Verdict.PASSED),
            _check("errors", "≤ 0.01", Verdict.FAILED, 0.23, reason="above", detail="0.23 > 0.01"),
            _check("port", "TCP 5432", Verdict.FAILED, reason="no_answer", detail="refused"),
            _check("latency", "≤ 1.5×, ≤ +0.05", None, 0.18125),
        ),
        figures=(("availability", 98.25), ("latency", 1.234), ("error_rate", 0.23)),
    )


def together() -> Deployment:
    """It was good, and lay between the version that was gone back to and what was undone."""
    return replace(
        decided(),
        outcome="",
        detail="",
        rolled_back_by=20,
        rollback_outcome=TOGETHER,
        rollback_detail="19",
        checks=(_check("health", "HTTP 200", Verdict.PASSED),),
        figures=(),
    )


def older() -> Deployment:
    """It takes the place of what failed and stayed: it is older than that, and newer than what was good."""
    lost = Change("c0ffee15" + "0" * 32, "USER-20: export as a table", "Bob", ("USER-20",))
    return replace(
        waiting(),
        changes_known=False,
        aside=(Change("bad0cafe" + "0" * 32, "Drop a column [irreversible]"),),
        undoes=Undoing((lost,), 1, ("USER-20",), is_known=False),
    )


def rollback() -> Deployment:
    """What brought the version before back."""
    return Deployment(
        18,
        "user-service",
        "production",
        V1,
        Requester("shipmate", "Shipmate"),
        AT + 320,
        kind=DeploymentKind.ROLLBACK,
        origin=BY_ITSELF,
        reason="errors: 0.23 > 0.01",
        state=DeploymentState.SUCCEEDED,
        previous=V2,
        started_at=AT + 322,
        ended_at=AT + 400,
        run=RUN,
        rollback_of=17,
        undoes=Undoing(CHANGES, len(CHANGES), ("USER-12", "USER-15")),
    )


def rollback_of_many() -> Deployment:
    """It waits for its turn; it undoes more than is named, of texts from outside, and not all of that is known."""
    undone = tuple(Change(f"{number:040x}", f"USER-{number}: {NASTY}"[:200], NASTY[:80]) for number in range(30))
    issues = tuple(f"USER-{number}" for number in range(40))
    return replace(
        rollback(),
        requester=ALICE,
        origin=ASKED,
        state=DeploymentState.QUEUED,
        outcome="busy",
        detail="user-service#16",
        started_at=0.0,
        ended_at=0.0,
        run=None,
        undoes=Undoing(undone, 412, issues, is_known=False),
    )


def unrestored() -> Deployment:
    """The version before could not be brought back either: a person has to look."""
    return replace(
        decided(),
        state=DeploymentState.ROLLBACK_FAILED,
        state_since=AT + 500,
        rollback_outcome="run_failed",
        rollback_detail="exit status 1",
        figures=(),
    )


CASES = (
    minimal,
    waiting,
    struck,
    typical,
    asking,
    longest,
    hostile,
    decided,
    unrestored,
    together,
    older,
    rollback,
    rollback_of_many,
)
