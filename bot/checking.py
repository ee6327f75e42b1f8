"""`shipmate check`: what a valid configuration still gets wrong, asked of the systems it names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bot.domain.checks import Policy, Verdict
from bot.domain.issues import ChangeKind
from bot.domain.routing import Traits
from bot.errors import (
    AuthFailed,
    ConfigError,
    DestinationGone,
    IntegrationError,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
)
from bot.findings import DOUBT, OK, UNASKED, WRONG, Finding
from bot.services.tokens import StoredTokens
from bot.settings import Settings, deployed_of, routes_of
from bot.storage.opening import obstacle, open_database, open_key, place_of, store_of
from bot.system import SystemClock
from bot.tracker_settings import triggers_of
from bot.understood import understood
from integrations.outside import Outside, connect_outside
from integrations.registry import PLATFORMS
from integrations.tokens import NO_DATABASE

_NOT_WELL = (Verdict.FAILED, Verdict.NO_DATA, Verdict.ERROR)


def check_all(settings: Settings) -> Iterator[Finding]:
    """Findings in the order of the file; each asked for as it is wanted. ConfigError when the file itself is wrong."""
    outside = connect_outside(settings, SystemClock())
    with _stored_tokens(settings, outside):
        yield from _probes(outside)
    yield from _cautions(outside)
    yield from _destinations(settings, outside)
    yield from _routes(settings)
    yield from _triggers(settings)
    yield from _unknown_askers(settings, outside)
    yield from _services(settings)
    yield from _break_glass(settings)
    yield from _failures(settings)
    projects = {name: source.projects for name, source in outside.sources.items()}
    yield from understood(settings, projects, PLATFORMS)
    yield from _outsiders(settings, outside)
    yield from _storage(settings)


@contextmanager
def _stored_tokens(settings: Settings, outside: Outside) -> Iterator[None]:
    """Let trackers use, and renew, the tokens that a bot has stored, where its database can be used."""
    is_file = settings.database.startswith("sqlite:///")
    if not settings.trackers or (is_file and not Path(settings.database.removeprefix("sqlite:///")).exists()):
        yield
        return
    store = None
    with suppress(ConfigError):
        cipher = open_key(settings, may_make=False)
        engine = open_database(settings, is_upgraded=False)
        if obstacle(engine) is None:
            store = store_of(engine, cipher)
            outside.tokens.bind(StoredTokens(store, SystemClock()))
        else:
            engine.dispose()
    try:
        yield
    finally:
        if store is not None:
            store.close()


def _storage(settings: Settings) -> Iterator[Finding]:
    """The key and the database, as far as they are there; neither is made."""
    try:
        open_key(settings, may_make=False)
        yield Finding(OK, "key", "can be used")
    except ConfigError as problem:
        is_missing = problem.problem.startswith("is not set")
        words = "there is none yet: `shipmate run` makes one, any other process needs SHIPMATE_KEY"
        yield Finding(UNASKED, "key", words) if is_missing else Finding(WRONG, problem.path, problem.problem)
    path = Path(settings.database.removeprefix("sqlite:///"))
    if settings.database.startswith("sqlite:///") and not path.exists():
        words = f"{path} is not there yet: `shipmate run` makes it, before any other process `shipmate db upgrade`"
        yield Finding(UNASKED, "database_url", words)
        return
    try:
        engine = open_database(settings, is_upgraded=False)
    except ConfigError as problem:
        yield Finding(WRONG, problem.path, problem.problem)
        return
    trouble = obstacle(engine)
    engine.dispose()
    mark = WRONG if trouble and "cannot be read" in trouble else DOUBT if trouble else OK
    yield Finding(mark, "database_url", trouble or f"{place_of(engine)} can be used")


def _probes(outside: Outside) -> Iterator[Finding]:
    probes = {f"platforms.{name}": platform.probe for name, platform in outside.platforms.items()}
    probes |= {f"sources.{name}": source.probe for name, source in outside.sources.items()}
    probes |= {f"trackers.{name}": tracker.probe for name, tracker in outside.trackers.items()}
    probes |= {f"metrics.{name}": metrics.source.probe for name, metrics in outside.metrics.items()}
    for setting, probe in probes.items():
        if probe is None:
            yield Finding(UNASKED, setting, "nothing to ask")
            continue
        try:
            yield Finding(OK, setting, probe())
        except IntegrationError as problem:
            if problem.reason == NO_DATABASE:
                yield Finding(UNASKED, setting, problem.detail)
                continue
            yield Finding(WRONG, setting, f"{_said(problem, setting)}: {_next_step(problem, setting)}")


def _cautions(outside: Outside) -> Iterator[Finding]:
    for kind, platform in outside.platforms.items():
        for setting, words in platform.cautions:
            yield Finding(DOUBT, f"platforms.{kind}.{setting}", words)


def _destinations(settings: Settings, outside: Outside) -> Iterator[Finding]:
    """What each destination is; two names of one place are said, because they add up to one card."""
    names: dict[str, str] = {}
    for name, destination in outside.destinations.items():
        setting, kind = f"destinations.{name}", destination.address.partition(":")[0]
        try:
            place = outside.platforms[kind].messenger.resolve(destination.address)
        except IntegrationError as problem:
            blamed = f"platforms.{kind}" if isinstance(problem, AuthFailed) and kind in settings.platforms else setting
            yield Finding(WRONG, setting, f"{_said(problem, setting)}: {_next_step(problem, blamed)}")
            continue
        yield Finding(OK, setting, f"{place.label} ({place.key}), {destination.locale}, {destination.timezone}")
        if names.setdefault(place.key, name) != name:
            yield Finding(DOUBT, setting, f"is the same place as destinations.{names[place.key]}: it gets one card")


def _routes(settings: Settings) -> Iterator[Finding]:
    for index, route in enumerate(settings.routes):
        match = [f"{name} {', '.join(globs)}" for name, globs in route.match.model_dump().items() if globs]
        words = f"{'; '.join(match) or 'everything'} → {', '.join(route.to)} when {', '.join(route.when)}"
        yield Finding(OK, f"routes[{index}]", words)
    if not settings.routes:
        yield Finding(DOUBT, "routes", "there are none: nothing is shown but what channels subscribe to")
    used = {name for route in settings.routes for name in route.to} | {settings.admin}
    for name in settings.destinations:
        if settings.routes and name not in used:
            yield Finding(DOUBT, f"destinations.{name}", "no route leads here")
    if not settings.sources:
        yield Finding(DOUBT, "sources", "there are none: no event can come in")


def _triggers(settings: Settings) -> Iterator[Finding]:
    for trigger in triggers_of(settings.trackers):
        what = f"{trigger.kind.value.replace('_', ' ')} {trigger.value!r}"
        where = f" in {', '.join(trigger.projects)}" if trigger.projects else ""
        words = f"{what}{where} → {trigger.service} {trigger.version} to {trigger.environment}"
        yield Finding(OK, trigger.name, f"{words} (dry run)" if trigger.is_dry_run else words)


def _unknown_askers(settings: Settings, outside: Outside) -> Iterator[Finding]:
    """Triggers of what people approve that one of these may set off, whom nobody here would know."""
    services = deployed_of(settings)
    for trigger in triggers_of(settings.trackers):
        target, path = services[trigger.service].targets[trigger.environment], f"trackers.{trigger.tracker}.people"
        needed = 0 if trigger.is_dry_run else max(target.approvals.needed, trigger.approvals)
        is_hidden = outside.trackers[trigger.tracker].may_hide_people and not settings.trackers[trigger.tracker].people
        if trigger.kind is ChangeKind.VERSION_RELEASED and needed == 1:
            words = "nobody is told who released a version: the one approval may be theirs, set approvals to 2"
            yield Finding(DOUBT, trigger.name, words)
        elif trigger.kind is not ChangeKind.VERSION_RELEASED and needed and is_hidden:
            words = f"whoever moves an issue and hides their address may approve what that brings: set {path}"
            yield Finding(DOUBT, trigger.name, words)


def _services(settings: Settings) -> Iterator[Finding]:
    """What each deployment's pipeline is told of a version that people approve."""
    for service in deployed_of(settings).values():
        named = [target for target in service.targets.values() if target.deploy.is_told_names_alone]
        if service.takes_any_version and any(target.approvals.needed for target in named):
            words = "any: its pipeline is told words that may mean something else by the time they are approved"
            yield Finding(DOUBT, f"services.{service.name}.versions", words)
        elif named:
            words = "is told {{version}} and no {{commit}}: in a branch's place it is told the commit of its build"
            yield Finding(OK, f"services.{service.name}.deploy", words)


def _break_glass(settings: Settings) -> Iterator[Finding]:
    """Where nobody would hear of a deployment without approvals."""
    if settings.admin:
        return
    routes = routes_of(settings)
    for service in deployed_of(settings).values():
        for name, target in service.targets.items():
            traits = Traits("deployment", service.name, environment=name, status="deploying")
            if target.break_glass and all(route.match.first_mismatch(traits) for route in routes):
                words = "may be deployed by break-glass, and no route shows it: name a route for it, or `admin`"
                yield Finding(DOUBT, f"services.{service.name}.environments.{name}", words)


def _failures(settings: Settings) -> Iterator[Finding]:
    """Where so many checks would have to fail as there are none."""
    for service in deployed_of(settings).values():
        for name, target in service.targets.items():
            most = sum(any(one.policy(bad) is Policy.ROLLBACK for bad in _NOT_WELL) for one in target.checks)
            if target.checks and target.rollback.max_failures > max(1, most):
                words = (
                    f"max_failures is {target.rollback.max_failures}, and {most} of its checks can fail a deployment: "
                    "no check ever will"
                )
                yield Finding(DOUBT, f"services.{service.name}.environments.{name}.rollback", words)


def _outsiders(settings: Settings, outside: Outside) -> Iterator[Finding]:
    """People whom their platform does not know, or not as one of us; it is asked no more once it fails."""
    failed = set[str]()
    for setting, member in _named(settings):
        kind, _, account = member.partition(":")
        directory = outside.platforms[kind].directory if kind in outside.platforms else None
        if "@" in member or directory is None or kind in failed:
            continue
        try:
            is_outsider = directory.look_up(account).is_outsider
        except IntegrationError:  # its own line says so
            failed.add(kind)
            continue
        if is_outsider:
            words = f"{kind} knows nobody of this id, or a guest, a bot or somebody gone"
            yield Finding(DOUBT, setting, f"{words}: no role counts" if setting.startswith("roles.") else words)


def _named(settings: Settings) -> Iterator[tuple[str, str]]:
    """The people whom the file names, each with where it does."""
    for name, role in settings.roles.items():
        for position, member in enumerate(role.members):
            yield f"roles.{name}.members[{position}]", member
    for tracker, frame in settings.trackers.items():
        for account, member in frame.people.items():
            yield f"trackers.{tracker}.people.{account}", member


def _said(problem: IntegrationError, setting: str) -> str:
    """The problem, without the name of a system that the setting names already."""
    return str(problem).removeprefix(f"{problem.system}: ") if problem.system in setting.split(".") else str(problem)


def _next_step(problem: IntegrationError, setting: str) -> str:
    match problem:
        case AuthFailed():
            return f"put a valid credential into {setting}, or grant it what the set-up page asks for"
        case DestinationGone() if problem.reason.startswith(("http_", "not_found")):
            return f"nothing of the kind answers there: see whether the address in {setting} is right, its path too"
        case DestinationGone() if not setting.startswith("destinations."):
            return f"correct {setting}"
        case DestinationGone():
            return f"correct {setting}, and see that the bot was invited there"
        case RateLimited():
            return "try again a little later"
        case Unavailable() | OutcomeUnknown():
            return "see whether its address is right and can be reached from this host"
        case _:
            return f"compare {setting} with the set-up page"
