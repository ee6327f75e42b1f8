"""The composition root: the one module that sees handlers, integrations and storage together."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from cryptography.fernet import MultiFernet
from flask import Blueprint
from sqlalchemy import Engine

from bot.application import Application, Part
from bot.domain.places import Place
from bot.doors import Watched, watch_doors, web_door
from bot.durations import per_second_of, seconds_of
from bot.errors import ConfigError, IntegrationError
from bot.look import Look
from bot.ports import Store
from bot.services import dead_letters
from bot.services.acting import Acting
from bot.services.answering import AnswerBudget
from bot.services.closing import Speech, Voices
from bot.services.command_inbox import CommandInbox
from bot.services.commands import CommandWorker
from bot.services.contents import Contents
from bot.services.dead_letters import DeadLetters
from bot.services.delivery import Deliverer
from bot.services.deployments.house import DeploymentHouse
from bot.services.deployments.triggered import TriggeredDeployments
from bot.services.dispatcher import Crew, Dispatcher
from bot.services.expiry import Expiry
from bot.services.ingest import Ingest
from bot.services.jobs import JobWorker
from bot.services.people import People
from bot.services.reading import Reading
from bot.services.reconciling import plan_reconciling
from bot.services.reporting import Reporting
from bot.services.retention import Limits, Pruner
from bot.services.router import Router
from bot.services.settling import Settling
from bot.services.signal import Signal
from bot.services.sources import SourceAccess, Sources
from bot.services.tokens import StoredTokens
from bot.services.tracker_house import TrackerHouse
from bot.services.trackers import Told, TrackerAccess, Trackers
from bot.services.upkeep import Upkeep
from bot.services.views import Views
from bot.settings import Settings, api_keys_of, deployed_of, roles_of, routes_of
from bot.storage.clock import DatabaseClock
from bot.storage.leader import Leader
from bot.storage.link import PostgresLink
from bot.storage.opening import obstacle, open_database, open_key, store_of
from bot.storage.postgres import PostgresStore
from bot.storage.set_back import SetBack
from bot.storage.watch import CommitWatch
from bot.system import SystemClock, UlidIds
from bot.telemetry import logger
from bot.tracker_settings import people_of, triggers_of
from handlers.gate import Gate
from handlers.schedules import Schedules
from handlers.webhooks import Sender, changes_of, events_of, webhooks
from integrations import charts
from integrations.outside import Outside, connect_outside

ALL_ROLES = frozenset({"web", "stream", "worker", "clock"})
UPKEEP_S = 5.0
PRUNE_S = 900.0
EXPIRE_S = 300.0


class Size(NamedTuple):
    """How many pieces of work a crew has in hand, and aside; `spare` as `Crew` has it."""

    size: int
    bench: int = 0
    spare: int = 0


DELIVERY_HANDS = Size(20, bench=40, spare=4)
COMMAND_HANDS = Size(6, bench=12, spare=2)
JOB_HANDS = Size(3, bench=3, spare=1)
TRACKER_HANDS = Size(3, spare=1)
DEPLOYMENT_HANDS = Size(8)
HANDS = (DELIVERY_HANDS, COMMAND_HANDS, JOB_HANDS, TRACKER_HANDS, DEPLOYMENT_HANDS)

log = logger(__name__)


class Core:
    """What the parts of a process share, whatever it does."""

    def __init__(
        self, settings: Settings, outside: Outside, engine: Engine, cipher: MultiFernet, clock: DatabaseClock
    ) -> None:
        self.settings, self.outside, self.engine = settings, outside, engine
        self.store = store_of(engine, cipher)
        self.settling = Settling(self.store)
        self.gate = Gate(settings.server.threads, self.store.longest_wait_s)
        self.ids, self.signal = UlidIds(), Signal()
        self.clock = clock
        self.link: PostgresLink | None = None
        if isinstance(self.store, PostgresStore):
            self.link = PostgresLink(engine, self.signal.wake, self.clock)
            self.signal.pass_on(self.link.ring)
        self.router = Router(routes_of(settings), outside.destinations, settings.admin)
        services = deployed_of(settings)
        self.sources = Sources(
            {
                name: SourceAccess(one.projects, one.reader, one.control, one.may_have, one.history)
                for name, one in outside.sources.items()
            },
            services.values(),
        )
        directories = {kind: one.directory for kind, one in outside.platforms.items() if one.directory}
        self.trackers = TrackerHouse(
            _trackers(settings, outside),
            store=self.settling,
            clock=self.clock,
            signal=self.signal,
            reporting=Reporting(outside.reports(), self.store, self.clock),
        )
        outside.tokens.bind(StoredTokens(self.store, self.clock))
        self.people = People(roles_of(settings), directories, self.store)
        tell = self.trackers.tidings.build if any(one.shows_builds for one in outside.trackers.values()) else None
        self.ingest = Ingest(self.store, self.clock, self.router, self.signal, self.sources.readable(), tell=tell)
        self.deployments = DeploymentHouse(
            services,
            store=self.settling,
            clock=self.clock,
            router=self.router,
            signal=self.signal,
            sources=self.sources,
            people=self.people,
            trackers=self.trackers,
        )
        self.reading = Reading(
            self.store,
            self.clock,
            self.router,
            self.sources,
            self.people,
            self.ingest,
            deployments=self.deployments.reading(outside.verification(), charts, outside.messengers()),
            trackers=self.trackers.trackers,
        )
        self.inbox = CommandInbox(self.store, self.clock, self.ids, self.signal)


def _trackers(settings: Settings, outside: Outside) -> Trackers:
    """The configured trackers with what the file says of them."""
    triggers = triggers_of(settings.trackers)
    found = {}
    for name, one in outside.trackers.items():
        frame = settings.trackers[name]
        found[name] = TrackerAccess(
            tracker=one.tracker,
            rules=one.rules,
            releases=one.releases,
            relations=one.relations,
            records=one.records,
            shows_builds=one.shows_builds,
            triggers=tuple(trigger for trigger in triggers if trigger.tracker == name),
            told=Told(**frame.tell.model_dump()),
            locale=frame.locale,
        )
    return Trackers(found)


def build(settings: Settings, roles: frozenset[str], *, environment: Mapping[str, str] = os.environ) -> Application:
    """A process that does the named work: any of web, stream, worker and clock.

    One that does all of it is complete: it makes the key and brings the schema to this version. Any other needs a key
    and waits for the schema. ConfigError where it cannot start.
    """
    is_whole = roles == ALL_ROLES
    clock = DatabaseClock(SystemClock())  # one for all: what the services noted the integrations compare with
    outside = connect_outside(settings, clock)
    cipher = open_key(settings, environment, may_make=is_whole)
    core = Core(settings, outside, open_database(settings, is_upgraded=is_whole), cipher, clock)
    try:
        return _assemble(core, roles, environment)
    except ConfigError:
        core.store.close()
        raise


def _assemble(core: Core, roles: frozenset[str], environment: Mapping[str, str]) -> Application:
    parts: list[Part] = [core.link] if core.link else []
    look = partial(obstacle, core.engine)
    checks: list[Callable[[], str | None]] = [Look[str | None](look, "the database does not answer")]
    checks += [core.link.trouble] if core.link else []
    connections: dict[str, Callable[[], bool]] = {}
    if "worker" in roles:
        # Over one PostgreSQL there may be another whole process, which nobody needs to be told of.
        dispatcher = _dispatcher(core, has_others=roles != ALL_ROLES or core.link is not None)
        parts += [core.settling, dispatcher]
        checks.append(dispatcher.trouble)
        if "web" not in roles and core.link is None:
            watch = CommitWatch(core.engine, core.signal.wake)
            parts.append(watch)
            checks.append(watch.trouble)
    if "clock" in roles:
        leader = Leader(core.engine)
        upkeep = Upkeep(core.store, core.clock, core.signal)
        kept_for = {name: seconds_of(limit) for name, limit in core.settings.retention.model_dump().items()}
        pruner = Pruner(core.store, core.clock, Limits(**kept_for))
        tasks: dict[str, tuple[float, Callable[[], object]]] = {
            "seal": (UPKEEP_S, upkeep.seal_audit),
            "overdue": (UPKEEP_S, upkeep.tell_overdue),
            "silent": (EXPIRE_S, Expiry(core.store, core.clock, core.ingest).end_silent),
            "set back": (UPKEEP_S, SetBack(core.engine, core.clock).look),
            "prune": (PRUNE_S, pruner.prune),
        }
        for name, frame in core.settings.trackers.items():
            if (every_s := seconds_of(frame.poll)) is not None:
                tasks[f"poll:{name}"] = (every_s, partial(core.trackers.poller.poll, name))
        schedules = Schedules({name: (every_s, _led(leader, task)) for name, (every_s, task) in tasks.items()})
        parts += [leader, pruner, schedules]
    blueprints: list[Blueprint] = []
    slack = core.outside.configs.get("slack")
    if slack is not None and (roles & ({"stream"} if slack.mode == "socket" else {"web"})):
        _add_slack(core, slack, parts, connections, blueprints)
    if "stream" in roles:
        _add_dingtalk(core, parts, connections)
        if roles == {"stream"} and not connections:
            log.warning("nothing to listen to: no platform is configured with a socket or a stream")
    application = Application([], parts, core.store, look, lambda: _prepare(core))
    watched = Watched(application, [core.gate.trouble, *checks], connections, core.store, core.clock)
    application.doors += (
        [web_door(core.settings, [_webhooks(core), *_api(core), *blueprints], watched)]
        if "web" in roles
        else watch_doors(core.settings, environment, watched)
    )
    return application


def _prepare(core: Core) -> None:
    """What must be done before any part starts, as soon as the database can be worked with."""
    if core.link:
        core.link.measure()
    register_destinations(core.store, core.outside)
    plan_reconciling(core.store, core.clock, core.sources)


def _led(leader: Leader, task: Callable[[], object]) -> Callable[[], object]:
    return lambda: leader.leads() and task()


def _dispatcher(core: Core, *, has_others: bool) -> Dispatcher:
    outside, store, clock = core.outside, core.settling, core.clock
    letters = DeadLetters(outside.destinations.get(core.settings.admin))
    dead_letters.expect(outside.platforms)
    links = core.trackers.trackers.links_in
    deliverer = Deliverer(
        store,
        clock,
        core.ids,
        outside.messengers(),
        frozenset(destination.address for destination in outside.destinations.values()),
        core.settings.progress_interval_s,
        dead_letters=letters,
        contents=Contents(links, charts, core.people.names_of, core.deployments.pages.leads, core.sources.acts_on),
    )
    budget = AnswerBudget(store, clock, outside.messengers())
    commands = CommandWorker(
        store=store,
        clock=clock,
        router=core.router,
        people=core.people,
        reading=core.reading,
        acting=Acting(
            store,
            clock,
            core.sources,
            core.people,
            core.ingest,
            core.signal,
            desk=core.deployments.desk,
            ids=core.ids,
        ),
        voices=Voices(
            {kind: platform.responder.spending(budget) for kind, platform in outside.platforms.items()},
            _speeches(outside),
            letters,
        ),
    )
    jobs = JobWorker(store, clock, core.sources, core.ingest, letters)
    crews = (
        Crew.of("deliveries", deliverer, *DELIVERY_HANDS),
        Crew.of("commands", commands, *COMMAND_HANDS),
        Crew.of("jobs", jobs, *JOB_HANDS),
        Crew.of(
            "trackers",
            core.trackers.worker(
                TriggeredDeployments(core.deployments.requests, people_of(core.settings.trackers)), letters
            ),
            *TRACKER_HANDS,
        ),
        Crew("deployments", core.deployments.worker(outside.verification()), *DEPLOYMENT_HANDS),
    )
    return Dispatcher(store, clock, core.signal, crews, has_others=has_others)


def _webhooks(core: Core) -> Blueprint:
    senders: dict[str, Sender[Any]] = {
        name: events_of(source.webhook, core.ingest) for name, source in core.outside.sources.items()
    }
    senders |= {
        name: changes_of(tracker.webhook, name, core.trackers.inbox) for name, tracker in core.outside.trackers.items()
    }
    rates = {name: per_second_of(frame.rate) for name, frame in core.settings.sources.items()}
    rates |= {name: per_second_of(frame.rate) for name, frame in core.settings.trackers.items()}
    return webhooks(senders, core.clock, rates=rates, gate=core.gate)


def _api(core: Core) -> list[Blueprint]:
    """The door for programs, where there are any."""
    if not core.settings.api:
        return []
    from handlers.api import api

    keys, answers = api_keys_of(core.settings), core.deployments.answers
    places = {name: tuple(service.targets) for name, service in deployed_of(core.settings).items()}
    return [api(keys, places, core.inbox, core.store, answers, core.clock, gate=core.gate)]


def register_destinations(store: Store, outside: Outside) -> None:
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


def _add_slack(
    core: Core,
    config: Any,  # noqa: ANN401 - the integration's own
    parts: list[Part],
    connections: dict[str, Callable[[], bool]],
    blueprints: list[Blueprint],
) -> None:
    from handlers.slack import build_app
    from handlers.slack_windows import Windows
    from integrations.slack import web_client

    modals = core.outside.platforms["slack"].modals
    assert modals is not None
    client = web_client(config, core.outside.session)
    views = Views(core.reading, core.people, prefix=config.command, locale=config.locale)
    windows = Windows(core.inbox, views, modals)
    app = build_app(
        client=client,
        command=config.command,
        inbox=core.inbox,
        windows=windows,
        clock=core.clock,
        locale=config.locale,
    )
    if config.mode == "socket":
        from handlers.slack_socket import SlackSocket

        socket = SlackSocket(app, config.app_token.get_secret_value(), client)
        parts.append(socket)
        connections["slack"] = lambda: socket.is_connected
    else:
        from handlers.slack_http import flask_blueprint

        secret = config.signing_secret.get_secret_value()
        blueprints.append(flask_blueprint(app, secret, core.clock, gate=core.gate))


def _add_dingtalk(core: Core, parts: list[Part], connections: dict[str, Callable[[], bool]]) -> None:
    config = core.outside.configs.get("dingtalk")
    if config is None or not (config.stream and config.client_id and config.client_secret):
        return
    from handlers.dingtalk import Door
    from handlers.dingtalk_stream import DingTalkStream

    door = Door(config.client_id, core.inbox, config.corp_id)
    stream = DingTalkStream(config.client_id, config.client_secret.get_secret_value(), config.api_url, door)
    parts.append(stream)
    connections["dingtalk"] = lambda: stream.is_connected
