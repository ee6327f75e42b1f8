"""The parts of shipmate.yaml that trackers have in common: how they are heard, what they start, what they are told."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from bot.complaints import instead
from bot.domain.issues import ChangeKind
from bot.domain.services import Service
from bot.domain.templates import names_in
from bot.domain.triggers import Trigger, circle, version_names
from bot.durations import seconds_of
from bot.errors import ConfigError
from bot.i18n import LOCALES
from bot.limits import Duration, Rate

LEAST_POLL_S = 15.0
_GROUP = re.compile(r"[a-z_]+")


def _as_tuple(given: object) -> object:
    return (given,) if isinstance(given, str) else given


def _is_member(name: str) -> str:
    if "@" not in name.strip("@") and not all(name.partition(":")):
        raise ValueError(f"{name!r} is neither platform:id nor an e-mail address")
    return name


Member = Annotated[str, AfterValidator(_is_member)]
Names = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
Named = Mapping[str, Annotated[str, Field(min_length=1)]]


class TriggerSettings(BaseModel):
    """What must happen, and what is deployed then. Exactly one of `status`, `labels` and `versions`.

    `services` (of a status) and `labels` name a service each, by project and by label; `versions` by an expression for
    the version's whole name. `service` is one for all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: str = ""
    service: str = ""
    services: Named = Field(default_factory=dict)
    labels: Named = Field(default_factory=dict)
    versions: Named = Field(default_factory=dict)
    environment: str = Field(min_length=1)
    version: str = Field(default="", max_length=200)
    projects: Names = ()
    types: Names = ()
    approvals: int = Field(default=0, ge=0, le=20)
    dry_run: bool = False
    comment: bool = True
    on_success: str = ""
    on_failure: str = ""
    relate: str = Field(default="", max_length=100)

    @field_validator("versions")
    @classmethod
    def _are_expressions(cls, versions: Named) -> Named:
        for expression in versions:
            try:
                groups = re.compile(expression).groupindex
            except re.error as problem:
                raise ValueError(f"{expression!r} is no regular expression: {problem.msg}") from None
            for group in groups:
                if not _GROUP.fullmatch(group):
                    raise ValueError(f"the group {group!r} must be named with the letters a to z and _")
        return versions

    @model_validator(mode="after")
    def _is_one_thing(self) -> TriggerSettings:
        given = [name for name in ("status", "labels", "versions") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError("needs exactly one of status, labels and versions")
        if bool(self.status) != bool(self.service or self.services):
            raise ValueError(
                "status goes with service, or with services by project; labels and versions name their own"
            )
        if self.service and self.services:
            raise ValueError("service is one for all: leave out service or services")
        if self.services and self.projects:
            raise ValueError("services names the projects already: leave out projects")
        if self.versions and self.types:
            raise ValueError("versions are of no issue type: leave out types")
        for kind, value in ((kind, value) for kind, value, _, _ in self._rules()):
            known = version_names(kind, value)
            if unknown := names_in(self.template) - known:
                raise ValueError(f"version: {{{{{min(unknown)}}}}} is none of {', '.join(sorted(known))}")
        return self

    @property
    def template(self) -> str:
        """The version's template: by default the issue's fix version, or the name of the version that was released."""
        return self.version or ("{{version}}" if self.versions else "{{fix_version}}")

    def triggers(self, tracker: str, name: str) -> Iterator[Trigger]:
        """The same for the domain, one for each service."""
        for kind, value, service, projects in self._rules():
            yield Trigger(
                name=name,
                tracker=tracker,
                kind=kind,
                value=value,
                service=service,
                environment=self.environment,
                version=self.template,
                projects=projects,
                types=self.types,
                approvals=self.approvals,
                is_dry_run=self.dry_run,
                comments=self.comment,
                on_success=self.on_success,
                on_failure=self.on_failure,
                relates=self.relate,
            )

    def _rules(self) -> Iterator[tuple[ChangeKind, str, str, tuple[str, ...]]]:
        """Kind, value, service and projects of each trigger that is meant."""
        if self.status and self.service:
            yield ChangeKind.STATUS_REACHED, self.status, self.service, self.projects
        for project, service in self.services.items():
            yield ChangeKind.STATUS_REACHED, self.status, service, (project,)
        for label, service in self.labels.items():
            yield ChangeKind.LABEL_ADDED, label, service, self.projects
        for expression, service in self.versions.items():
            yield ChangeKind.VERSION_RELEASED, expression, service, self.projects


class TellSettings(BaseModel):
    """What the issues of a deployment are told, by environment; without any, nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    comment: Names = ()
    link: Names = ()
    fix_version: Names = ()


class TrackerFrame(BaseModel):
    """What every tracker has; the rest is validated by its kind's integration.

    `people` are accounts of the tracker, each with the same person's account in chat or e-mail address.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    kind: str = ""  # which one is missing is said by who knows them all
    rate: Rate = "50/s"
    poll: Duration = "off"
    locale: str = "en"
    people: Mapping[str, Member] = Field(default_factory=dict)
    tell: TellSettings = TellSettings()
    triggers: tuple[TriggerSettings, ...] = ()

    @field_validator("locale")
    @classmethod
    def _is_shipped(cls, value: str) -> str:
        if value not in LOCALES:
            raise ValueError(f"must be one of {', '.join(LOCALES)}")
        return value

    @field_validator("poll")
    @classmethod
    def _is_bearable(cls, value: str) -> str:
        seconds = seconds_of(value)
        if seconds is not None and not LEAST_POLL_S <= seconds <= 3600:
            raise ValueError("must be between 15s and 1h, or off")
        return value

    @property
    def section(self) -> dict[str, Any]:
        """What the integration validates."""
        return {"kind": self.kind, **(self.model_extra or {})}


def triggers_of(trackers: Mapping[str, TrackerFrame]) -> tuple[Trigger, ...]:
    """All triggers, named after their place in the file."""
    return tuple(
        trigger
        for tracker, frame in trackers.items()
        for index, settings in enumerate(frame.triggers)
        for trigger in settings.triggers(tracker, f"trackers.{tracker}.triggers[{index}]")
    )


def people_of(trackers: Mapping[str, TrackerFrame]) -> dict[str, dict[str, str]]:
    """Who the accounts of each tracker are, by the account as changes name it (`jira:5b10…`), in lower case."""
    return {
        tracker: {
            f"{frame.kind}:{account.removeprefix(f'{frame.kind}:')}".lower(): member
            for account, member in frame.people.items()
        }
        for tracker, frame in trackers.items()
    }


def wrong_triggers(trackers: Mapping[str, TrackerFrame], services: Mapping[str, Service]) -> Iterator[ConfigError]:
    """Triggers of what cannot be deployed, and those that would start each other for ever."""
    for trigger in triggers_of(trackers):
        if trigger.service not in services:
            words = f"{trigger.service!r} is no service{instead(trigger.service, services) or ': name it in services'}"
            yield ConfigError(trigger.name, words)
            continue
        target = services[trigger.service].targets.get(trigger.environment)
        if target is None:
            words = (
                f"{trigger.service} is not deployed to {trigger.environment!r}"
                f"{instead(trigger.environment, services[trigger.service].targets)}"
            )
            yield ConfigError(f"{trigger.name}.environment", words)
        elif trigger.approvals and not target.approvals.approvers:
            words = f"nobody may approve in {trigger.environment}: set approvals there first"
            yield ConfigError(f"{trigger.name}.approvals", words)
    for tracker in trackers:
        ours = [trigger for trigger in triggers_of(trackers) if trigger.tracker == tracker]
        if names := circle(ours):
            yield ConfigError(names[0], f"would start itself again and again: {' → '.join((*names, names[0]))}")
