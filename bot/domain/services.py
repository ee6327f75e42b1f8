"""What is deployed where, by what, and under which rules: the configuration of deployments as the services see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from bot.domain.checks import CheckSpec
from bot.domain.templates import fill, may_be, names_in
from bot.domain.windows import Freeze, Window


class WhenBusy(StrEnum):
    """What becomes of a deployment that meets another one of its service and environment."""

    WAIT = "wait"
    SUPERSEDE = "supersede"


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A run of a CI/CD system: the project of a source, and the parameters it is started with, both templates."""

    source: str
    project: str
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_told_names_alone(self) -> bool:
        """Whether a run is told what a version is called, and not of which commit it is."""
        asked = frozenset[str]().union(*map(names_in, (self.project, *self.parameters.values())))
        return "version" in asked and "commit" not in asked

    def filled(self, values: Mapping[str, str]) -> Pipeline:
        """With the values of one deployment."""
        parameters = {name: fill(template, values) for name, template in self.parameters.items()}
        return Pipeline(self.source, fill(self.project, values), parameters)


@dataclass(frozen=True, slots=True)
class ApprovalRule:
    """So many people of these roles must agree within `expires_s`."""

    needed: int = 0
    approvers: tuple[str, ...] = ()
    expires_s: float = 4 * 3600.0


@dataclass(frozen=True, slots=True)
class RollbackRule:
    """Whether, after so many failed checks, the version before is brought back, and by which pipeline.

    Without a `pipeline` of its own the version before is deployed like any other. A commit whose title holds one of
    `irreversible` cannot be gone back across.
    """

    is_enabled: bool = True
    max_failures: int = 1
    pipeline: Pipeline | None = None
    irreversible: tuple[str, ...] = ("[irreversible]",)


@dataclass(frozen=True, slots=True)
class Target:
    """A service in one environment. `after` is the environment that a version must have succeeded in before.

    `break_glass` are the roles that may deploy without approvals, order and windows.
    """

    service: str
    environment: str
    deploy: Pipeline
    after: str = ""
    needs_confirmation: bool = True
    approvals: ApprovalRule = ApprovalRule()
    break_glass: tuple[str, ...] = ()
    windows: tuple[Window, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    checks: tuple[CheckSpec, ...] = ()
    rollback: RollbackRule = RollbackRule()
    when_busy: WhenBusy = WhenBusy.WAIT
    timeout_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class Service:
    """Something that is deployed. `build_source` and `build_project` name the builds its versions come from.

    `build_branch` is the branch whose newest good build is the latest version; empty for any branch. Where
    `takes_any_version` a version need not be known from a build. `url` is the service's own page.
    """

    name: str
    targets: Mapping[str, Target]
    build_source: str = ""
    build_project: str = ""
    takes_any_version: bool = False
    url: str = ""
    build_branch: str = ""

    def is_deployed_by(self, source: str, project: str) -> bool:
        """Whether runs of a project of a source may carry out its deployments."""
        for target in self.targets.values():
            values = {"service": self.name, "service_name": self.name, "environment": target.environment}
            for pipeline in filter(None, (target.deploy, target.rollback.pipeline)):
                if pipeline.source == source and may_be(pipeline.project, project, values):
                    return True
        return False
