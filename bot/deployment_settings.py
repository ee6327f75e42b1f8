"""The parts of shipmate.yaml that say what is deployed where, by what, and under which rules."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, time
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from bot.check_settings import CheckSettings
from bot.complaints import instead
from bot.domain.services import ApprovalRule, Pipeline, RollbackRule, Service, Target, WhenBusy
from bot.domain.templates import DEPLOYMENT_NAMES, names_in
from bot.domain.windows import Freeze, Window
from bot.durations import length_of
from bot.errors import ConfigError
from bot.limits import Written
from bot.noise_settings import TimeOfDay

WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WORKDAYS = WEEK[:5]
_NAME = re.compile(r"[\w.-]{1,60}")
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def _as_tuple(given: object) -> object:
    return (given,) if isinstance(given, str) else given


def _is_template(text: str) -> str:
    unknown = names_in(text) - DEPLOYMENT_NAMES
    if unknown:
        raise ValueError(f"{{{{{min(unknown)}}}}} is none of {', '.join(sorted(DEPLOYMENT_NAMES))}")
    return text


def _is_page(text: str) -> str:
    if text and not text.startswith(("http://", "https://")):
        raise ValueError("must be an http or https address such as https://user-service.example.com")
    return text


def _is_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError("must be a time zone's name, such as Asia/Shanghai") from None
    return name


def _is_length(text: str) -> str:
    if not length_of(text):
        raise ValueError("must be a length of time such as 30m or 4h")
    return text


Names = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
Template = Annotated[str, AfterValidator(_is_template), Field(max_length=500)]
Page = Annotated[Template, AfterValidator(_is_page)]
Zone = Annotated[str, AfterValidator(_is_zone)]
Length = Annotated[Written, AfterValidator(_is_length)]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PipelineSettings(_Frozen):
    """A run of a source: its project, and the parameters it is started with."""

    source: str
    project: Template = Field(min_length=1)
    parameters: Mapping[str, Template] = Field(default_factory=dict)

    @property
    def pipeline(self) -> Pipeline:
        """The same for the domain."""
        return Pipeline(self.source, self.project, dict(self.parameters))


class BuildsSettings(_Frozen):
    """Where versions come from: the builds of a source's project; the latest from those of `branch`, or of any."""

    source: str
    project: str
    branch: str = ""


class ApprovalSettings(_Frozen):
    """How many people of which roles must agree, and for how long they have."""

    needed: int = Field(ge=1, le=20)
    approvers: Names = Field(min_length=1, alias="from")
    expires_in: Length = "4h"


class WindowSettings(_Frozen):
    """Days and hours in which something may start."""

    days: Annotated[tuple[Day, ...], BeforeValidator(_as_tuple), Field(min_length=1)] = WORKDAYS  # type: ignore[assignment]  # five of the seven
    begins: TimeOfDay = Field(alias="from")
    ends: TimeOfDay = Field(alias="to")
    timezone: Zone = "UTC"

    @property
    def window(self) -> Window:
        """The same for the domain."""
        days = frozenset(WEEK.index(day) for day in self.days)
        return Window(days, time.fromisoformat(self.begins), time.fromisoformat(self.ends), self.timezone)


class FreezeSettings(_Frozen):
    """Days, the last one included, on which nothing starts."""

    first: date = Field(alias="from")
    last: date = Field(alias="to")
    reason: str = Field(min_length=1, max_length=200)
    timezone: Zone = "UTC"

    @model_validator(mode="after")
    def _has_order(self) -> FreezeSettings:
        if self.last < self.first:
            raise ValueError("to is before from")
        return self

    @property
    def freeze(self) -> Freeze:
        """The same for the domain."""
        return Freeze(self.first, self.last, self.reason, self.timezone)


class RollbackSettings(_Frozen):
    """What becomes of an environment whose deployment failed."""

    enabled: bool = True
    max_failures: int = Field(default=1, ge=1, le=100)
    pipeline: PipelineSettings | None = None
    irreversible: Names = ("[irreversible]",)

    @property
    def rule(self) -> RollbackRule:
        """The same for the domain."""
        pipeline = self.pipeline.pipeline if self.pipeline else None
        return RollbackRule(self.enabled, self.max_failures, pipeline, self.irreversible)


class EnvironmentSettings(_Frozen):
    """The rules of an environment, for all services in it."""

    after: str = ""
    confirm: bool = True
    approvals: ApprovalSettings | None = None
    break_glass: Names = ()
    windows: tuple[WindowSettings, ...] = ()
    freezes: tuple[FreezeSettings, ...] = ()


class TargetSettings(_Frozen):
    """What is special about one service in one environment; `checks` are names out of the service's."""

    deploy: PipelineSettings | None = None
    checks: Names | None = None
    rollback: RollbackSettings | None = None
    approvals: ApprovalSettings | None = None


class ServiceSettings(_Frozen):
    """Something that is deployed."""

    deploy: PipelineSettings
    builds: BuildsSettings | None = None
    versions: Literal["builds", "any"] = "builds"
    environments: Mapping[str, TargetSettings] = Field(min_length=1)
    when_busy: WhenBusy = WhenBusy.WAIT
    timeout: Length = "1h"
    checks: Mapping[str, CheckSettings] = Field(default_factory=dict)
    rollback: RollbackSettings = RollbackSettings()
    url: Page = ""

    @model_validator(mode="after")
    def _has_versions(self) -> ServiceSettings:
        if self.versions == "builds" and self.builds is None:
            raise ValueError("builds is missing: versions are found there, or set versions: any")
        return self


def services_of(
    services: Mapping[str, ServiceSettings], environments: Mapping[str, EnvironmentSettings]
) -> dict[str, Service]:
    """The configured services; `wrong_references` has found nothing in them."""
    found = {}
    for name, settings in services.items():
        targets = {
            environment: _target(name, environment, settings, target, environments)
            for environment, target in settings.environments.items()
        }
        builds = settings.builds
        found[name] = Service(
            name,
            targets,
            build_source=builds.source if builds else "",
            build_project=builds.project if builds else "",
            build_branch=builds.branch if builds else "",
            takes_any_version=settings.versions == "any",
            url=settings.url,
        )
    return found


def wrong_references(
    services: Mapping[str, ServiceSettings],
    environments: Mapping[str, EnvironmentSettings],
    sources: Sequence[str],
    roles: Sequence[str],
) -> Iterator[ConfigError]:
    """What points to a source, a role, a check or an environment that the file does not have."""
    yield from _wrong_names("environments", environments)
    yield from _wrong_names("services", services)
    for name, settings in environments.items():
        path = f"environments.{name}"
        if settings.after and settings.after not in environments:
            words = f"{settings.after!r} is no environment{instead(settings.after, environments)}"
            yield ConfigError(f"{path}.after", words)
        yield from _wrong_roles(f"{path}.break_glass", settings.break_glass, roles)
        if settings.approvals:
            yield from _wrong_roles(f"{path}.approvals.from", settings.approvals.approvers, roles)
    if circular := next((name for name in environments if _is_circular(name, environments)), ""):
        yield ConfigError(f"environments.{circular}.after", "the environments wait for one another in a circle")
    for name, service in services.items():
        yield from _wrong_in_service(f"services.{name}", service, environments, sources, roles)


def _wrong_in_service(
    path: str,
    service: ServiceSettings,
    environments: Mapping[str, EnvironmentSettings],
    sources: Sequence[str],
    roles: Sequence[str],
) -> Iterator[ConfigError]:
    yield from _wrong_names(f"{path}.checks", service.checks)
    for environment, target in service.environments.items():
        where = f"{path}.environments.{environment}"
        if environment not in environments:
            words = f"is no environment{instead(environment, environments) or ': name it in environments'}"
            yield ConfigError(where, words)
        if target.approvals:
            yield from _wrong_roles(f"{where}.approvals.from", target.approvals.approvers, roles)
        for index, check in enumerate(target.checks or ()):
            if check not in service.checks:
                words = f"{check!r} is no check of this service{instead(check, service.checks)}"
                yield ConfigError(f"{where}.checks[{index}]", words)
    named = [(where, pipeline.source) for where, pipeline in pipelines_of(service)]
    named += [("builds", service.builds.source)] if service.builds else []
    for where, source in named:
        if source not in sources:
            yield ConfigError(f"{path}.{where}.source", f"{source!r} is no source{instead(source, sources)}")


def _wrong_names(section: str, names: Iterable[str]) -> Iterator[ConfigError]:
    for name in names:
        if not _NAME.fullmatch(name):
            words = "is no name that can be typed: 1 to 60 letters, digits, _ . -"
            yield ConfigError(f"{section}.{name}", words)


def pipelines_of(service: ServiceSettings) -> Iterator[tuple[str, PipelineSettings]]:
    """Every pipeline that a service names, and where."""
    yield "deploy", service.deploy
    if service.rollback.pipeline:
        yield "rollback.pipeline", service.rollback.pipeline
    for environment, target in service.environments.items():
        if target.deploy:
            yield f"environments.{environment}.deploy", target.deploy
        if target.rollback and target.rollback.pipeline:
            yield f"environments.{environment}.rollback.pipeline", target.rollback.pipeline


def _wrong_roles(path: str, named: Sequence[str], roles: Sequence[str]) -> Iterator[ConfigError]:
    for role in named:
        if role not in roles:
            yield ConfigError(path, f"{role!r} is no role{instead(role, roles)}")


def _is_circular(name: str, environments: Mapping[str, EnvironmentSettings]) -> bool:
    seen, at = set[str](), name
    while at:
        if at in seen:
            return True
        seen.add(at)
        at = environments[at].after if at in environments else ""
    return False


def _target(
    service: str,
    environment: str,
    settings: ServiceSettings,
    target: TargetSettings,
    environments: Mapping[str, EnvironmentSettings],
) -> Target:
    rules = environments[environment]
    approvals = target.approvals or rules.approvals
    names = tuple(settings.checks) if target.checks is None else target.checks
    return Target(
        service,
        environment,
        deploy=(target.deploy or settings.deploy).pipeline,
        after=_before(rules.after, settings, environments),
        needs_confirmation=rules.confirm,
        approvals=_approval_rule(approvals),
        break_glass=rules.break_glass,
        windows=tuple(one.window for one in rules.windows),
        freezes=tuple(one.freeze for one in rules.freezes),
        checks=tuple(settings.checks[check].spec(check) for check in names),
        rollback=(target.rollback or settings.rollback).rule,
        when_busy=settings.when_busy,
        timeout_s=length_of(settings.timeout),
    )


def _before(environment: str, settings: ServiceSettings, environments: Mapping[str, EnvironmentSettings]) -> str:
    """The nearest of the environments before that a service is deployed to; empty without one."""
    passed = set[str]()
    while environment and environment not in settings.environments and environment not in passed:
        passed.add(environment)
        environment = environments[environment].after if environment in environments else ""
    return environment if environment in settings.environments else ""


def _approval_rule(settings: ApprovalSettings | None) -> ApprovalRule:
    if settings is None:
        return ApprovalRule()
    return ApprovalRule(settings.needed, settings.approvers, length_of(settings.expires_in))
