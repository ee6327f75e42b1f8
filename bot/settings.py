"""shipmate.yaml and the environment as one frozen Settings.

Secrets are references: `${NAME}` within a text, `{file: path}` in place of one. The frame is parsed here; what stands
under a platform's or a source's name is validated by its integration, in the composition root.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar
from zoneinfo import available_timezones

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from bot.domain.routing import Milestone, Updates
from bot.errors import ConfigError
from bot.i18n import LOCALES

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SECRET_NAMES = re.compile(r"(?:.*_)?(?:token|secrets?|password|webhook_url)")
MAX_FILE_BYTES = 1024 * 1024


class _Loader(yaml.SafeLoader):
    """YAML in which only true and false are booleans: `on` is a setting's name here, and `no` a word."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {  # type: ignore[misc]  # the stubs call it an instance's
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("true|false"), list("tf"))


def _as_tuple(given: object) -> object:
    return (given,) if isinstance(given, str) else given


Names = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Server(_Frozen):
    """Where the web door listens, and under which address the outside reaches it."""

    listen: str = "127.0.0.1:3000"
    public_url: str = ""
    threads: int = Field(default=12, ge=1, le=64)

    @field_validator("listen")
    @classmethod
    def _has_port(cls, value: str) -> str:
        host, colon, port = value.rpartition(":")
        if not (host and colon and port.isdigit() and int(port) < 65536):
            raise ValueError("must be host:port, such as 127.0.0.1:3000")
        return value


class Logging(_Frozen):
    """How much is logged, and whether as JSON lines."""

    level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    as_json: bool = False


class MatchSettings(_Frozen):
    """Globs a dimension: one, or a list of alternatives; `!glob` excludes."""

    kind: Names = ()
    project: Names = ()
    branch: Names = ()
    status: Names = ()
    environment: Names = ()
    severity: Names = ()
    author: Names = ()


class RouteSettings(_Frozen):
    """One rule; `when` are the milestones that open a card."""

    match: MatchSettings = MatchSettings()
    to: Names = Field(min_length=1)
    when: Annotated[tuple[Milestone, ...], BeforeValidator(_as_tuple)] = (Milestone.STARTED, Milestone.FINISHED)
    mention: Names = ()
    thread_log: bool = False
    updates: Updates = Updates.FINAL


class RoleScope(_Frozen):
    """What a role covers."""

    project: Names = ("*",)
    environment: Names = ("*",)


class RoleSettings(_Frozen):
    """People (`slack:U…`, `dingtalk:<staffId>`, e-mail addresses), the verbs they may use, and on what."""

    members: Names
    can: Names = Field(min_length=1)
    on: RoleScope = RoleScope()

    @field_validator("members")
    @classmethod
    def _are_accounts(cls, members: tuple[str, ...]) -> tuple[str, ...]:
        for member in members:
            if ":" not in member and "@" not in member:
                raise ValueError(f"{member!r} is neither platform:id nor an e-mail address")
        return members


class DestinationFrame(_Frozen):
    """A named place: exactly one platform's section, with the language and zone of the people there."""

    model_config = ConfigDict(extra="allow", frozen=True)

    locale: str | None = None
    timezone: str = "UTC"

    @field_validator("locale")
    @classmethod
    def _is_shipped(cls, value: str | None) -> str | None:
        if value is not None and value not in LOCALES:
            raise ValueError(f"must be one of {', '.join(LOCALES)}")
        return value

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value not in available_timezones():
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


class Settings(_Frozen):
    """The whole configuration; `folder` is where the file lies, relative paths start there."""

    folder: Path
    server: Server = Server()
    log: Logging = Logging()
    database_url: str = ""
    progress_interval_s: float = Field(default=2.0, ge=0)
    platforms: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict)
    destinations: Mapping[str, DestinationFrame] = Field(default_factory=dict)
    sources: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict)
    routes: tuple[RouteSettings, ...] = ()
    roles: Mapping[str, RoleSettings] = Field(default_factory=dict)
    secrets: tuple[str, ...] = Field(default=(), repr=False)

    @property
    def database(self) -> str:
        """The database's address: a SQLite file in `var` beside the configuration, unless another is named."""
        return self.database_url or f"sqlite:///{self.folder / 'var' / 'shipmate.db'}"


def load(path: Path, environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings in a file; ConfigError names the place of what is wrong, never a value."""
    try:
        raw = path.read_bytes()
    except OSError as problem:
        raise ConfigError("", f"{path} cannot be read: {problem.strerror}") from None
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError("", f"{path} is larger than 1 MiB")
    try:
        given = yaml.load(raw, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as problem:
        where = getattr(problem, "problem_mark", None)
        line = f" (line {where.line + 1})" if where else ""
        raise ConfigError("", f"{path} is not valid YAML{line}") from None
    if not isinstance(given, dict):
        raise ConfigError("", f"{path} must hold a mapping: platforms, destinations, sources, routes, roles")
    found: list[str] = []
    resolved = _resolve(given, "", path.resolve().parent, environment, found)
    try:
        settings = Settings(**{**resolved, "folder": path.resolve().parent, "secrets": tuple(found)})
    except ValidationError as problem:
        raise config_error("", problem) from None
    _check_names(settings)
    return settings


def config_error(prefix: str, problem: ValidationError) -> ConfigError:
    """The first complaint of a validation as a ConfigError whose path starts with `prefix`."""
    first = problem.errors(include_url=False, include_input=False, include_context=False)[0]
    words = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        words = "is no known setting"
    return ConfigError(join(prefix, first["loc"]), words)


def join(prefix: str, location: Sequence[str | int]) -> str:
    """`routes[2].match.branch`."""
    path = prefix
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def _check_names(settings: Settings) -> None:
    for index, route in enumerate(settings.routes):
        for position, name in enumerate(route.to):
            if name not in settings.destinations:
                raise ConfigError(f"routes[{index}].to[{position}]", f"{name!r} is no destination")
    for name, destination in settings.destinations.items():
        if destination.platform not in settings.platforms and destination.platform != "dingtalk":
            raise ConfigError(f"destinations.{name}", f"there is no platforms.{destination.platform}")


def _resolve(given: Any, path: str, folder: Path, environment: Mapping[str, str], found: list[str]) -> Any:  # noqa: ANN401 - YAML
    """The same structure with every reference replaced by what it names."""
    is_secret = _SECRET_NAMES.fullmatch(path.rpartition(".")[2].partition("[")[0]) is not None
    match given:
        case {"file": str(name)} if len(given) == 1:
            value = _read_secret(folder / name, path)
            found.append(value)
            return value
        case dict():
            return {
                str(key): _resolve(value, f"{path}.{key}" if path else str(key), folder, environment, found)
                for key, value in given.items()
            }
        case list():
            return [
                _resolve(value, f"{path}[{index}]", folder, environment, found) for index, value in enumerate(given)
            ]
        case str() if _REFERENCE.search(given):
            value = _REFERENCE.sub(lambda name: _from_environment(name[1], path, environment), given)
            if is_secret:
                found.append(value)
            return value
        case str() if is_secret and not path.startswith("roles."):
            raise ConfigError(path, "is a secret: write ${NAME} or {file: path} instead of the value")
        case _:
            return given


def _from_environment(name: str, path: str, environment: Mapping[str, str]) -> str:
    if not environment.get(name):
        raise ConfigError(path, f"the environment variable {name} is not set")
    return environment[name]


def _read_secret(path: Path, setting: str) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as problem:
        words = problem.strerror if isinstance(problem, OSError) else "it is not text"
        raise ConfigError(setting, f"the file {path.name} cannot be read: {words}") from None
