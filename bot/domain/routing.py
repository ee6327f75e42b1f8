"""Which events go to which destinations, and why not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from bot.domain.builds import Build, BuildStatus
from bot.domain.deployment_effects import TOGETHER
from bot.domain.deployments import FAILED_STATES, Deployment, DeploymentState
from bot.domain.noise import QuietHours, Threshold


class Milestone(StrEnum):
    """What a folded subject has reached; `when` of a route names some."""

    STARTED = "started"
    FINISHED = "finished"
    FAILED = "failed"
    FIXED = "fixed"


class Updates(StrEnum):
    """How much of a subject's life a destination that cannot edit is sent."""

    FINAL = "final"
    ALL = "all"


DIMENSIONS = ("kind", "project", "branch", "status", "environment", "severity", "author")


Shown = Build | Deployment  # what a card of its own can be about


@dataclass(frozen=True, slots=True)
class Traits:
    """What routes match on; an empty text where the subject has no such trait."""

    kind: str = ""
    project: str = ""
    branch: str = ""
    status: str = ""
    environment: str = ""
    severity: str = ""
    author: str = ""


@dataclass(frozen=True, slots=True)
class Match:
    """Globs a dimension; an empty tuple matches anything, several are alternatives; `!glob` excludes."""

    kind: tuple[str, ...] = ()
    project: tuple[str, ...] = ()
    branch: tuple[str, ...] = ()
    status: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    severity: tuple[str, ...] = ()
    author: tuple[str, ...] = ()

    def first_mismatch(self, traits: Traits) -> str | None:
        """The first dimension that does not match, or None when all do."""
        for name in DIMENSIONS:
            globs: tuple[str, ...] = getattr(self, name)
            if globs and not matches(globs, getattr(traits, name)):
                return name
        return None


@dataclass(frozen=True, slots=True)
class Route:
    """A rule. `name` is its place in the configuration (`routes[0]`) or `subscription:…`.

    `quiet_hours` and `progress_interval_s` outrank those of the destination.
    """

    name: str
    match: Match
    to: tuple[str, ...]
    when: frozenset[Milestone] = frozenset({Milestone.STARTED, Milestone.FINISHED})
    mention: tuple[str, ...] = ()
    thread_log: bool = False
    updates: Updates = Updates.FINAL
    critical: bool = False
    group: Threshold | None = None
    flapping: Threshold | None = None
    quiet_hours: QuietHours | None = None
    progress_interval_s: float | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether a route opens a card at its destinations, with the named reason."""

    route: Route
    opens: bool
    reason: str


def traits_of(shown: Shown) -> Traits:
    """What routes match on."""
    if isinstance(shown, Deployment):
        return Traits(
            kind=shown.key.kind.value,
            project=shown.service,
            status=shown.state.value,
            environment=shown.environment,
            author=shown.requester.name,
        )
    build, facts = shown, shown.facts
    return Traits(
        kind=build.key.kind.value,
        project=build.key.project,
        branch=facts.branch or "",
        status=build.status.value,
        author=facts.author or "",
    )


def milestones_of(shown: Shown) -> frozenset[Milestone]:
    """What a subject has reached so far; what a rollback restored is fixed."""
    if isinstance(shown, Deployment):
        return _milestones_of_deployment(shown)
    build, reached = shown, {Milestone.STARTED}
    if build.is_finished:
        reached.add(Milestone.FINISHED)
        if build.status is BuildStatus.FAILED:
            reached.add(Milestone.FAILED)
        if build.is_fixed:
            reached.add(Milestone.FIXED)
    return frozenset(reached)


def _milestones_of_deployment(deployment: Deployment) -> frozenset[Milestone]:
    reached = {Milestone.STARTED}
    if deployment.state.is_ended:
        reached.add(Milestone.FINISHED)
    if deployment.state in FAILED_STATES and deployment.rollback_outcome != TOGETHER:
        reached.add(Milestone.FAILED)
    if deployment.state is DeploymentState.SUCCEEDED and deployment.rollback_of:
        reached.add(Milestone.FIXED)
    return frozenset(reached)


def judge(routes: Iterable[Route], traits: Traits, reached: frozenset[Milestone]) -> list[Judgement]:
    """Each route's answer: `routed`, `filtered:<dimension>` or `waiting:<milestones>`."""
    judgements = []
    for route in routes:
        mismatch = route.match.first_mismatch(traits)
        if mismatch is not None:
            judgements.append(Judgement(route, False, f"filtered:{mismatch}"))
        elif route.when & reached:
            judgements.append(Judgement(route, True, "routed"))
        else:
            judgements.append(Judgement(route, False, "waiting:" + "|".join(sorted(route.when))))
    return judgements


def matches(globs: tuple[str, ...], value: str) -> bool:
    """Whether any glob fits `value` and no `!glob` does; where all exclude, they exclude from everything."""
    wanted = [glob for glob in globs if not glob.startswith("!")]
    refused = [glob[1:] for glob in globs if glob.startswith("!")]
    if any(fnmatchcase(value, glob) for glob in refused):
        return False
    return not wanted or any(fnmatchcase(value, glob) for glob in wanted)
