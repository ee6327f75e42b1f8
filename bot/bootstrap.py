"""The composition root: the one module that sees handlers, integrations and storage together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import requests
from cryptography.fernet import Fernet, MultiFernet
from pydantic import BaseModel, ValidationError

from bot.domain.identity import Role
from bot.domain.places import DestinationSettings, Place
from bot.domain.routing import Match, Route
from bot.errors import ConfigError, IntegrationError, ShipmateError
from bot.services.acting import Acting
from bot.services.commands import CommandInbox, CommandWorker, Speech
from bot.services.delivery import Deliverer
from bot.services.dispatcher import Crew, Dispatcher
from bot.services.ingest import Ingest
from bot.services.jobs import JobWorker
from bot.services.people import People
from bot.services.reading import Reading
from bot.services.router import Router
from bot.services.signal import Signal
from bot.services.sources import SourceAccess, Sources
from bot.services.upkeep import Upkeep
from bot.services.views import Views
from bot.settings import Settings, config_error
from bot.storage.schema import HEAD, upgrade, version_of
from bot.storage.store import SqliteStore, open_sqlite
from bot.system import SystemClock, UlidIds
from bot.telemetry import remember_secrets
from handlers.schedules import Schedules
from handlers.web import WebServer, create_app
from handlers.webhooks import webhooks
from integrations.registry import PLATFORMS, SOURCES
from integrations.spec import Platform, Source

CONNECTIONS = 32
UPKEEP_S = 5.0


class Part(Protocol):
    """Something of the process that runs until it is stopped."""

    def start(self) -> None:
        """Begin."""
        ...

    def stop(self) -> object:
        """End cleanly."""
        ...


@dataclass
class Outside:
    """The configured integrations."""

    configs: dict[str, Any] = field(default_factory=dict)
    platforms: dict[str, Platform] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)
    destinations: dict[str, DestinationSettings] = field(default_factory=dict)
    session: requests.Session = field(default_factory=requests.Session)


@dataclass
class Application:
    """A whole process, started and stopped in order."""

    parts: list[Part]
    store: SqliteStore

    def start(self) -> None:
        """Start every part."""
        for part in self.parts:
            part.start()

    def stop(self) -> None:
        """Stop in reverse, then let go of the database."""
        for part in reversed(self.parts):
            part.stop()
        self.store.close()


def connect_outside(settings: Settings) -> Outside:
    """Validate each section with its integration and build it; no network. ConfigError names the setting."""
    outside = Outside()
    remember_secrets(settings.secrets)
    adapter = requests.adapters.HTTPAdapter(pool_connections=CONNECTIONS, pool_maxsize=CONNECTIONS)
    outside.session.mount("http://", adapter)
    outside.session.mount("https://", adapter)
    sections: dict[str, Mapping[str, Any]] = dict(settings.platforms)
    for frame in settings.destinations.values():
        sections.setdefault(frame.platform, {})
    for kind, section in sections.items():
        _connect_platform(outside, settings, kind, section)
    for name, section in settings.sources.items():
        kind = str(section.get("kind"))
        if kind not in SOURCES:
            raise ConfigError(f"sources.{name}.kind", f"must be one of {', '.join(SOURCES)}")
        source_spec = SOURCES[kind]
        config = _validated(source_spec.config, section, f"sources.{name}")
        outside.sources[name] = source_spec.build(name, config, outside.session)
    return outside


def _connect_platform(outside: Outside, settings: Settings, kind: str, section: Mapping[str, Any]) -> None:
    if kind not in PLATFORMS:
        raise ConfigError(f"platforms.{kind}", f"is no known platform: {', '.join(PLATFORMS)}")
    spec = PLATFORMS[kind]
    config = _validated(spec.config, section, f"platforms.{kind}")
    places = {
        name: _validated(spec.destination, frame.section, f"destinations.{name}.{kind}")
        for name, frame in settings.destinations.items()
        if frame.platform == kind
    }
    platform = spec.build(config, places, outside.session)
    outside.configs[kind], outside.platforms[kind] = config, platform
    for name, place in places.items():
        frame = settings.destinations[name]
        locale = frame.locale or platform.default_locale
        outside.destinations[name] = DestinationSettings(name, spec.address(name, place), locale, frame.timezone)


def _validated(model: type[BaseModel], section: object, path: str) -> Any:  # noqa: ANN401 - each integration's own
    try:
        return model.model_validate(section)
    except ValidationError as problem:
        raise config_error(path, problem) from None


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
        )
        for index, route in enumerate(settings.routes)
    )


def _roles_of(settings: Settings) -> list[Role]:
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


def cipher_of(settings: Settings, environment: Mapping[str, str] = os.environ) -> MultiFernet:
    """The key for bearer URLs at rest: SHIPMATE_KEY (several, comma-separated), else `var/key`, made where missing."""
    given = environment.get("SHIPMATE_KEY", "")
    if not given:
        path = settings.folder / "var" / "key"
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            path.touch(mode=0o600, exist_ok=False)
            path.write_bytes(Fernet.generate_key())
        given = path.read_text(encoding="ascii")
    try:
        return MultiFernet([Fernet(key.strip()) for key in given.split(",")])
    except ValueError:
        raise ConfigError("SHIPMATE_KEY", "is no Fernet key") from None


def open_database(settings: Settings, *, is_upgraded: bool = True) -> Any:  # noqa: ANN401 - SQLAlchemy's engine
    """The database's engine, with its schema at the newest version."""
    url = settings.database
    if not url.startswith("sqlite:///"):
        raise ConfigError("database_url", "must be sqlite:///path for now")
    Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    engine = open_sqlite(url)
    if is_upgraded:
        upgrade(engine)
    elif version_of(engine) != HEAD:
        raise ConfigError("database_url", "the schema is not up to date: run `shipmate db upgrade`")
    return engine


def build(settings: Settings, roles: frozenset[str]) -> Application:
    """A process that does the named work: any of web, stream, worker and clock."""
    outside = connect_outside(settings)
    store = SqliteStore(open_database(settings), cipher_of(settings))
    clock, ids, signal = SystemClock(), UlidIds(), Signal()
    router = Router(routes_of(settings), outside.destinations)
    sources = Sources(
        {name: SourceAccess(source.projects, source.reader, source.control) for name, source in outside.sources.items()}
    )
    directories = {kind: platform.directory for kind, platform in outside.platforms.items() if platform.directory}
    people = People(_roles_of(settings), directories)
    ingest = Ingest(store, clock, router, signal, sources.readable())
    reading = Reading(store, clock, router, sources, people, ingest)
    inbox = CommandInbox(store, clock, ids, signal)
    _register_destinations(store, outside)
    parts: list[Part] = []
    if "worker" in roles:
        deliverer = Deliverer(
            store,
            clock,
            ids,
            {kind: platform.messenger for kind, platform in outside.platforms.items()},
            frozenset(destination.address for destination in outside.destinations.values()),
            settings.progress_interval_s,
        )
        commands = CommandWorker(
            store=store,
            clock=clock,
            router=router,
            people=people,
            reading=reading,
            acting=Acting(store, clock, sources, people, ingest, signal),
            responders={kind: platform.responder for kind, platform in outside.platforms.items()},
            speeches=_speeches(outside),
        )
        jobs = JobWorker(store, clock, sources, ingest)
        crews = (Crew("deliveries", deliverer, 16), Crew("commands", commands, 4), Crew("jobs", jobs, 2))
        parts.append(Dispatcher(store, clock, signal, crews))
    if "clock" in roles:
        upkeep = Upkeep(store, clock, signal)
        parts.append(Schedules({"seal": (UPKEEP_S, upkeep.seal_audit), "overdue": (UPKEEP_S, upkeep.tell_overdue)}))
    doors = _slack_parts(outside, roles, parts, inbox, Views(reading, people), clock)
    if "stream" in roles:
        _dingtalk_parts(outside, parts, inbox)
    if "web" in roles:
        receivers = {name: source.webhook for name, source in outside.sources.items()}
        app = create_app([webhooks(receivers, ingest, clock), *doors], lambda: _unready(store))
        parts.append(WebServer(app, settings.server.listen, settings.server.threads))
    return Application(parts, store)


def _unready(store: SqliteStore) -> str | None:
    try:
        store.read(lambda tx: tx.jobs.next_due_at())
    except ShipmateError as problem:
        return str(problem)
    return None


def _register_destinations(store: SqliteStore, outside: Outside) -> None:
    """Rows for all configured places; those that need no network are resolved at once."""
    for destination in outside.destinations.values():
        address, kind = destination.address, destination.address.partition(":")[0]
        if kind == "slack":
            if store.read(lambda tx, address=address: tx.places.key_of(address)) is None:  # type: ignore[misc]  # bound now
                store.write(lambda tx, address=address: tx.places.ensure([Place(address, address)]))  # type: ignore[misc]
            continue
        with suppress(IntegrationError):
            place = outside.platforms[kind].messenger.resolve(address)
            store.write(lambda tx, address=address, place=place: tx.places.adopt(address, place))  # type: ignore[misc]


def _speeches(outside: Outside) -> dict[str, Speech]:
    speeches = {}
    for kind, platform in outside.platforms.items():
        config = outside.configs[kind]
        prefix = config.command if kind == "slack" else f"@{config.bot_name}"
        speeches[kind] = Speech(prefix, platform.default_locale)
    return speeches


def _slack_parts(
    outside: Outside, roles: frozenset[str], parts: list[Part], inbox: CommandInbox, views: Views, clock: SystemClock
) -> list[Any]:
    platform = outside.platforms.get("slack")
    config = outside.configs.get("slack")
    if platform is None or config is None or platform.modals is None:
        return []
    if not roles & ({"stream"} if config.mode == "socket" else {"web"}):
        return []
    from handlers.slack import build_app
    from handlers.slack_windows import Windows
    from integrations.slack import web_client

    client = web_client(config, outside.session)
    windows = Windows(inbox, views, platform.modals, locale=config.locale)
    app = build_app(
        client=client, command=config.command, inbox=inbox, windows=windows, clock=clock, locale=config.locale
    )
    if config.mode == "socket":
        from handlers.slack_socket import SlackSocket

        parts.append(SlackSocket(app, config.app_token.get_secret_value(), client))
        return []
    from handlers.slack_http import flask_blueprint

    return [flask_blueprint(app, config.signing_secret.get_secret_value(), clock)]


def _dingtalk_parts(outside: Outside, parts: list[Part], inbox: CommandInbox) -> None:
    config = outside.configs.get("dingtalk")
    if config is None or not (config.stream and config.client_id and config.client_secret):
        return
    from handlers.dingtalk import Door
    from handlers.dingtalk_stream import DingTalkStream

    door = Door(config.client_id, inbox, config.corp_id)
    secret = config.client_secret.get_secret_value()
    parts.append(DingTalkStream(config.client_id, secret, config.api_url, door))
