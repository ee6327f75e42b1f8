"""Which builds match which routes, and when a card opens."""

from __future__ import annotations

import pytest

from bot.domain.builds import Build, BuildFacts, BuildStatus, Phase
from bot.domain.routing import Match, Milestone, Route, Traits, judge, milestones_of, traits_of
from bot.domain.subjects import SubjectKey, SubjectKind

TRAITS = Traits(kind="build", project="user-service", branch="release/1.2", status="failed", author="Chen Wei")


@pytest.mark.parametrize(
    ("match", "mismatch"),
    [
        (Match(), None),
        (Match(branch=("release/*",)), None),
        (Match(branch=("main", "release/*")), None),
        (Match(branch=("!main",)), None),
        (Match(branch=("release/*", "!release/1.*")), "branch"),
        (Match(branch=("!release/*",)), "branch"),
        (Match(branch=("main",)), "branch"),
        (Match(branch=("Release/*",)), "branch"),
        (Match(project=("user-?ervice",), status=("failed",)), None),
        (Match(project=("other",), branch=("main",)), "project"),
        (Match(environment=("production",)), "environment"),
        (Match(environment=("!production",)), None),
        (Match(kind=("alert",)), "kind"),
    ],
)
def test_globs_lists_and_negation(match: Match, mismatch: str | None) -> None:
    """Several globs are alternatives, `!` excludes, and the first dimension that fails is named."""
    assert match.first_mismatch(TRAITS) == mismatch


def _build(status: BuildStatus, phase: Phase = Phase.FINISHED, *, is_fixed: bool = False) -> Build:
    key = SubjectKey(SubjectKind.BUILD, "ci", "user-service", "1")
    return Build(key, 1, phase, BuildFacts(status=status, branch="main"), is_fixed)


@pytest.mark.parametrize(
    ("build", "reached"),
    [
        (_build(BuildStatus.RUNNING, Phase.RUNNING), {"started"}),
        (_build(BuildStatus.FAILED, Phase.RUNNING), {"started"}),
        (_build(BuildStatus.FAILED), {"started", "finished", "failed"}),
        (_build(BuildStatus.SUCCESS), {"started", "finished"}),
        (_build(BuildStatus.SUCCESS, is_fixed=True), {"started", "finished", "fixed"}),
        (_build(BuildStatus.CANCELLED), {"started", "finished"}),
    ],
)
def test_milestones_follow_the_folded_state(build: Build, reached: set[str]) -> None:
    """A milestone is reached by what is known of the build, not by the event at hand."""
    assert milestones_of(build) == {Milestone(name) for name in reached}


def test_each_route_gives_its_reason() -> None:
    """A route opens, waits for its milestones or is filtered by a named dimension."""
    running = _build(BuildStatus.RUNNING, Phase.RUNNING)
    routes = [
        Route("routes[0]", Match(), ("a",)),
        Route("routes[1]", Match(), ("a",), when=frozenset({Milestone.FIXED, Milestone.FAILED})),
        Route("routes[2]", Match(branch=("dev",)), ("a",)),
    ]
    said = [(j.opens, j.reason) for j in judge(routes, traits_of(running), milestones_of(running))]
    assert said == [(True, "routed"), (False, "waiting:failed|fixed"), (False, "filtered:branch")]
