"""shipmate.yaml and the environment as one frozen Settings.

The frame is validated here; what stands under a platform's or a source's name is validated by its integration, in the
composition root.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from bot.check_settings import MetricsFrame
from bot.complaints import complaints
from bot.configuration import join, read
from bot.deployment_settings import EnvironmentSettings, ServiceSettings, services_of
from bot.domain.builds import BuildStatus
from bot.domain.deployments import DeploymentState
from bot.domain.identity import Role
from bot.domain.routing import Match, Milestone, Route, Updates
from bot.domain.services import Service
from bot.domain.subjects import SubjectKind
from bot.errors import ConfigError
from bot.i18n import LOCALES
from bot.limits import RetentionSettings, SourceFrame
from bot.noise_settings import QuietSettings, ThresholdSettings
from bot.signatures import Secrets, key_of
from bot.slips import references, slips
from bot.tracker_settings import Member, TrackerFrame

_SQLITE = "sqlite:///"
_POSTGRES = "postgresql+psycopg://"
_ROUTED_KINDS = tuple(kind for kind in SubjectKind if kind is not SubjectKind.DEAD_LETTER)
_HEARD_KINDS = (SubjectKind.BUILD, SubjectKind.DEPLOYMENT)  # no source tells of the others yet


def _as_tuple(given: object) -> object:
    return (given,) if isinstance(given, str) else given


def _is_glob(glob: str) -> str:
    body = glob.removeprefix("!")
    if not body:
        raise ValueError(f"{glob!r} is no glob: write * for anything, or leave the line out")
    if body.count("[") > body.count("]"):
        raise ValueError(f"{glob!r} is no glob: a [ is not closed")
    return glob


def _one_of(words: Iterable[str], offered: Iterable[str] = ()) -> AfterValidator:
    """A check that a glob can match at all, where what it matches is one of few words, of which some are `offered`."""
    known = tuple(words)
    shown = tuple(offered) or known

    def check(glob: str) -> str:
        if not any(fnmatchcase(word, glob.removeprefix("!")) for word in known):
            raise ValueError(f"{glob!r} matches none of {', '.join(shown)}")
        return glob

    return AfterValidator(check)


def _is_account(name: str) -> str:
    platform, colon, account = name.partition(":")
    if not (platform and colon and account):
        raise ValueError(f"{name!r} is no account: write platform:id, such as slack:U024BE7LH")
    return name


@cache
def _zones() -> frozenset[str]:
    """The time zones there are: a walk through hundreds of files, taken once."""
    return frozenset(available_timezones())


Names = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
Glob = Annotated[str, AfterValidator(_is_glob)]
Globs = Annotated[tuple[Glob, ...], BeforeValidator(_as_tuple)]
Accounts = Annotated[tuple[Annotated[str, AfterValidator(_is_account)], ...], BeforeValidator(_as_tuple)]
Members = Annotated[tuple[Member, ...], BeforeValidator(_as_tuple)]
Kinds = Annotated[tuple[Annotated[Glob, _one_of(_ROUTED_KINDS, _HEARD_KINDS)], ...], BeforeValidator(_as_tuple)]
Statuses = Annotated[tuple[Annotated[Glob, _one_of((*BuildStatus, *DeploymentState))], ...], BeforeValidator(_as_tuple)]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def is_listen(address: str) -> bool:
    """Whether it is host:port."""
    host, colon, port = address.rpartition(":")
    return bool(host and colon and port.isdigit() and int(port) < 65536)


class Server(_Frozen):
    """Where the web door listens, and where a process without one tells of itself."""

    listen: str = "127.0.0.1:3000"
    threads: int = Field(default=16, ge=1, le=64)
    metrics_listen: str = ""

    @field_validator("listen", "metrics_listen")
    @classmethod
    def _has_port(cls, value: str, field: ValidationInfo) -> str:
        if not is_listen(value) and (value or field.field_name == "listen"):
            raise ValueError("must be host:port, such as 127.0.0.1:3000")
        return value


class Logging(_Frozen):
    """How much is logged, and whether as JSON lines."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    as_json: bool = False


class MatchSettings(_Frozen):
    """Globs a dimension: one, or a list of alternatives; `!glob` excludes."""

    kind: Kinds = ()
    project: Globs = ()
    branch: Globs = ()
    status: Statuses = ()
    environment: Globs = ()
    severity: Globs = ()
    author: Globs = ()


class RouteSettings(_Frozen):
    """One rule; `when` are the milestones that open a card."""

    match: MatchSettings = MatchSettings()
    to: Names = Field(min_length=1)
    when: Annotated[tuple[Milestone, ...], BeforeValidator(_as_tuple), Field(min_length=1)] = (
        Milestone.STARTED,
        Milestone.FINISHED,
    )
    mention: Accounts = ()
    thread_log: bool = False
    updates: Updates = Updates.FINAL
    critical: bool = False
    group: ThresholdSettings | None = None
    flapping: ThresholdSettings | None = None
    quiet_hours: QuietSettings | None = None
    progress_interval_s: float | None = Field(default=None, ge=0)


class RoleScope(_Frozen):
    """What a role covers."""

    project: Globs = ("*",)
    environment: Globs = ("*",)


class RoleSettings(_Frozen):
    """People (`slack:U…`, `dingtalk:<staffId>`, e-mail addresses), the verbs they may use, and on what."""

    members: Members
    can: Names = Field(min_length=1)
    on: RoleScope = RoleScope()


class DestinationFrame(_Frozen):
    """A named place: exactly one platform's section, with the language and zone of the people there."""

    model_config = ConfigDict(extra="allow", frozen=True)

    locale: str | None = None
    timezone: str = "UTC"
    quiet_hours: QuietSettings | None = None
    progress_interval_s: float | None = Field(default=None, ge=0)

    @field_validator("locale")
    @classmethod
    def _is_shipped(cls, value: str | None) -> str | None:
        if value is not None and value not in LOCALES:
            raise ValueError(f"must be one of {', '.join(LOCALES)}")
        return value

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value not in _zones():
            raise ValueError("must be a time zone's name, such as Asia/Shanghai")
        return value

    @model_validator(mode="after")
    def _has_one_platform(self) -> DestinationFrame:
        if len(self.model_extra or {}) != 1:
            raise ValueError("needs exactly one platform, such as slack or dingtalk")
        return self

    @property
    def platform(self) -> str:
        """The platform's name."""
        return next(iter(self.model_extra or {}))

    @property
    def section(self) -> Any:  # noqa: ANN401 - validated by the platform's integration
        """What stands under the platform's name."""
        return (self.model_extra or {})[self.platform]


class ApiClientSettings(_Frozen):
    """A program that may use the API; what it may do there its roles say, as `api:<name>`."""

    secrets: Secrets


class Settings(_Frozen):
    """The whole configuration; `folder` is where the file lies, relative paths start there.

    `key` encrypts bearer addresses in the database: Fernet keys, comma-separated, the one in use first. `admin` is the
    destination that is told when a delivery is given up.
    """

    folder: Path = Field(exclude=True)
    key: str = Field(default="", repr=False)
    server: Server = Server()
    log: Logging = Logging()
    database_url: str = Field(default="", repr=False)
    retention: RetentionSettings = RetentionSettings()
    progress_interval_s: float = Field(default=2.0, ge=0)
    platforms: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict, repr=False)
    destinations: Mapping[str, DestinationFrame] = Field(default_factory=dict, repr=False)
    sources: Mapping[str, SourceFrame] = Field(default_factory=dict, repr=False)
    trackers: Mapping[str, TrackerFrame] = Field(default_factory=dict, repr=False)
    metrics: Mapping[str, MetricsFrame] = Field(default_factory=dict, repr=False)
    routes: tuple[RouteSettings, ...] = ()
    roles: Mapping[str, RoleSettings] = Field(default_factory=dict)
    environments: Mapping[str, EnvironmentSettings] = Field(default_factory=dict)
    services: Mapping[str, ServiceSettings] = Field(default_factory=dict)
    api: Mapping[str, ApiClientSettings] = Field(default_factory=dict, repr=False)
    admin: str = ""
    secrets: tuple[str, ...] = Field(default=(), repr=False, exclude=True)

    @property
    def database(self) -> str:
        """The database's address: a SQLite file in `var` beside the configuration, unless another is named."""
        if not self.database_url:
            return f"{_SQLITE}{self.folder / 'var' / 'shipmate.db'}"
        if self.database_url.startswith(_SQLITE):
            return f"{_SQLITE}{self.folder / self.database_url.removeprefix(_SQLITE)}"
        scheme, colon, rest = self.database_url.partition("://")
        return f"{_POSTGRES}{rest}" if colon and scheme in ("postgres", "postgresql") else self.database_url


Check = Callable[["Settings"], Iterable[ConfigError]]


def nothing_more(_settings: Settings) -> Iterable[ConfigError]:
    """Where nobody is there to read the sections of integrations."""
    return ()


def load(path: Path, environment: Mapping[str, str] = os.environ, *, further: Check = nothing_more) -> Settings:
    """The settings in a file; ConfigError names the place of everything that is wrong, never a value.

    `further` is asked, of what can be read, for what is wrong beyond: only where there is something to complain about.
    """
    values, secrets, wrong = read(path, environment)
    ours: dict[str, Any] = {"folder": path.resolve().parent, "secrets": secrets}
    found = [ConfigError(name, "is no known setting") for name in ours if name in values]
    settings, refused = _validated({**values, **ours})
    found += [*wrong, *refused]
    if not refused and settings is not None:
        found += slips(settings)
    if found:
        sections = {_section(one.path) for one in refused}
        also = [] if settings is None else [one for one in further(settings) if _section(one.path) not in sections]
        raise ConfigError.together([one for one in (*found, *also) if not _follows(one, wrong)])
    assert settings is not None  # else there is something to complain about
    return settings


def _validated(values: dict[str, Any]) -> tuple[Settings | None, list[ConfigError]]:
    """The settings, without the sections that are refused, and what is wrong with those."""
    try:
        return Settings(**values), []
    except ValidationError as problem:
        refused = [ConfigError(where, words) for where, words in config_error("", problem, Settings).each()]
    sections = {_section(one.path) for one in refused}
    try:
        return Settings(**{name: value for name, value in values.items() if name not in sections}), refused
    except ValidationError:
        return None, refused


def _section(path: str) -> str:
    return re.split(r"[.\[]", path, maxsplit=1)[0]


def _follows(one: ConfigError, wrong: Sequence[ConfigError]) -> bool:
    """Whether a complaint is about what a reference, which is wrong itself, left empty."""
    places = [other.path for other in wrong if other is not one]
    return one not in wrong and any(_is_within(one.path, place) or _is_within(place, one.path) for place in places)


def _is_within(path: str, place: str) -> bool:
    return path == place or path.startswith((f"{place}.", f"{place}["))


def config_error(
    prefix: str, problem: ValidationError, model: type[BaseModel], also: Iterable[str] = ()
) -> ConfigError:
    """The complaints of a validation as a ConfigError whose paths start with `prefix`; `also` stands beside `model`."""
    found = [ConfigError(join(prefix, where), words) for where, words in complaints(problem, model, also=also)]
    return ConfigError.together(found)


def deployed_of(settings: Settings) -> dict[str, Service]:
    """The configured services; ConfigError names a setting that points to nothing."""
    if wrong := list(references(settings)):
        raise ConfigError.together(wrong)
    return services_of(settings.services, settings.environments)


def api_keys_of(settings: Settings) -> dict[str, tuple[bytes, ...]]:
    """The signing keys of each client of the API."""
    return {
        name: tuple(key_of(secret.get_secret_value()) for secret in client.secrets)
        for name, client in settings.api.items()
    }


def routes_of(settings: Settings) -> tuple[Route, ...]:
    """The configured routes, named after their place in the file."""
    return tuple(
        Route(
            name=f"routes[{index}]",
            match=Match(**route.match.model_dump()),
            to=route.to,
            when=frozenset(route.when),
            mention=route.mention,
            thread_log=route.thread_log,
            updates=route.updates,
            critical=route.critical,
            group=route.group.threshold if route.group else None,
            flapping=route.flapping.threshold if route.flapping else None,
            quiet_hours=route.quiet_hours.hours if route.quiet_hours else None,
            progress_interval_s=route.progress_interval_s,
        )
        for index, route in enumerate(settings.routes)
    )


def roles_of(settings: Settings) -> list[Role]:
    """The configured roles; e-mail addresses in lower case."""
    return [
        Role(
            name,
            frozenset(member.lower() if "@" in member else member for member in role.members),
            frozenset(role.can),
            role.on.project,
            role.on.environment,
        )
        for name, role in settings.roles.items()
    ]
