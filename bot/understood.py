"""What a valid configuration says of deployments and people, read back, and what in it can come to nothing.

No system is asked. What each environment, service, role and client means is said even where nothing is wrong with it:
a rule that was put in the wrong place is seen by its absence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from bot.complaints import instead, nearest
from bot.deployment_settings import WORKDAYS, ApprovalSettings, EnvironmentSettings, WindowSettings, pipelines_of
from bot.domain.commands import VERBS
from bot.domain.identity import covers
from bot.domain.services import Pipeline, Service, Target
from bot.domain.subjects import SubjectKind
from bot.domain.templates import fill, names_in
from bot.findings import DOUBT, OK, WRONG, Finding
from bot.settings import RoleSettings, RouteSettings, Settings, deployed_of, roles_of
from bot.tracker_settings import triggers_of

API = "api"
_TOLD_OF = (SubjectKind.BUILD, SubjectKind.DEPLOYMENT)  # no source tells of the others yet


def understood(
    settings: Settings, projects: Mapping[str, Sequence[str]], platforms: Iterable[str]
) -> Iterator[Finding]:
    """Findings about environments, services, roles, routes and clients.

    `projects` are those that each source names in the configuration; none where it takes what comes. `platforms` are
    all that there can be.
    """
    services = deployed_of(settings)
    for name, environment in settings.environments.items():
        yield Finding(OK, f"environments.{name}", _rules(environment))
        yield from _too_few(f"environments.{name}.approvals", environment.approvals, settings)
    for service in services.values():
        yield Finding(OK, f"services.{service.name}", _service(service))
    yield from _unknown_projects(settings, services, projects)
    yield from _too_few_of_services(settings, services)
    for service in services.values():
        yield from _uncovered(service, settings)
    known = sorted({*services, *(name for names in projects.values() for name in names)})
    is_known = bool(projects) and all(projects.values())
    yield from _routes(settings, known if is_known else ())
    for name, role in settings.roles.items():
        yield from _role(name, role, settings, known if is_known else (), platforms)
    for tracker, frame in settings.trackers.items():
        for account, member in frame.people.items():
            if words := _stranger(member, settings, platforms):
                yield Finding(DOUBT, f"trackers.{tracker}.people.{account}", words)
    for name in settings.api:
        yield _client(name, settings)


# --- environments and services


def _rules(settings: EnvironmentSettings) -> str:
    rules = [f"after {settings.after}"] if settings.after else []
    rules.append("confirmed by who asks" if settings.confirm else "not confirmed")
    rules.append(_approvals(settings.approvals) if settings.approvals else "no approvals")
    rules += [f"open {_window(window)}" for window in settings.windows] or ["open at any time"]
    rules += [f"frozen from {one.first} to {one.last} ({one.reason})" for one in settings.freezes]
    rules += [f"break-glass by {', '.join(settings.break_glass)}"] if settings.break_glass else []
    return "; ".join(rules)


def _approvals(settings: ApprovalSettings) -> str:
    people = "1 approval" if settings.needed == 1 else f"{settings.needed} approvals"
    return f"{people} of {' or '.join(settings.approvers)} within {settings.expires_in}"


def _window(window: WindowSettings) -> str:
    days = "mon-fri" if window.days == WORKDAYS else " ".join(window.days)
    return f"{days} {window.begins}-{window.ends} {window.timezone}"


def _service(service: Service) -> str:
    builds = f"builds of {service.build_source}/{service.build_project}" if service.build_source else "no builds"
    builds += f", the latest of {service.build_branch}" if service.build_branch else ""
    versions = "any word is a version" if service.takes_any_version else "versions are builds"
    return "; ".join([builds, versions, *(_target(target) for target in service.targets.values())])


def _target(target: Target) -> str:
    words = [f"{target.environment} by {target.deploy.source}/{target.deploy.project}"]
    if target.approvals.needed:
        words.append(f"{target.approvals.needed} of {' or '.join(target.approvals.approvers)}")
    words.append(f"checks {', '.join(check.name for check in target.checks)}" if target.checks else "no checks")
    if target.checks:
        words.append("rolled back when they fail" if target.rollback.is_enabled else "never rolled back by itself")
    return f"{words[0]} ({', '.join(words[1:])})"


def _unknown_projects(
    settings: Settings, services: Mapping[str, Service], projects: Mapping[str, Sequence[str]]
) -> Iterator[Finding]:
    """Projects that the named source does not have: the first deployment would fail."""
    for name, section in settings.services.items():
        if section.builds:
            path = f"services.{name}.builds.project"
            yield from _unknown(path, section.builds.source, [section.builds.project], projects)
        for where, pipeline in pipelines_of(section):
            asked = _filled(pipeline.pipeline, name, services[name].targets)
            yield from _unknown(f"services.{name}.{where}.project", pipeline.source, asked, projects)


def _filled(pipeline: Pipeline, service: str, environments: Iterable[str]) -> list[str]:
    """The projects that a template stands for; none where it hangs on the version."""
    if not names_in(pipeline.project) <= {"service", "service_name", "environment"}:
        return []
    values = ({"service": service, "service_name": service, "environment": one} for one in environments)
    return list(dict.fromkeys(fill(pipeline.project, value) for value in values))


def _unknown(path: str, source: str, asked: Iterable[str], projects: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    known = projects.get(source, ())
    for project in asked:
        if known and project not in known:
            words = f"{project!r} is none of sources.{source}.projects{instead(project, known)}"
            yield Finding(WRONG, path, words)


# --- approvals


def _too_few_of_services(settings: Settings, services: Mapping[str, Service]) -> Iterator[Finding]:
    for name, section in settings.services.items():
        for environment, target in section.environments.items():
            yield from _too_few(f"services.{name}.environments.{environment}.approvals", target.approvals, settings)
    for trigger in triggers_of(settings.trackers):
        approvers = services[trigger.service].targets[trigger.environment].approvals.approvers
        if trigger.approvals:
            path, where = f"{trigger.name}.approvals", (trigger.service, trigger.environment)
            yield from _beyond(path, trigger.approvals, approvers, settings)
            yield from _elsewhere(path, trigger.approvals, approvers, settings, where)


def _too_few(path: str, approvals: ApprovalSettings | None, settings: Settings) -> Iterator[Finding]:
    if approvals:
        yield from _beyond(f"{path}.needed", approvals.needed, approvals.approvers, settings)


def _beyond(path: str, needed: int, roles: Sequence[str], settings: Settings) -> Iterator[Finding]:
    """More approvals than there are people: everything there would expire."""
    members, names = _members(roles, settings), " and ".join(roles)
    if needed > len(members):
        words = f"{needed} of {names}, with {len(members)} in all: nothing can ever be approved"
        yield Finding(DOUBT, path, words)


def _uncovered(service: Service, settings: Settings) -> Iterator[Finding]:
    """Where the roles that are named are about other places: whoever has one decides nothing here."""
    for environment, target in service.targets.items():
        path, where = f"services.{service.name}.environments.{environment}", (service.name, environment)
        yield from _elsewhere(path, target.approvals.needed, target.approvals.approvers, settings, where)
        if target.break_glass and not _members(target.break_glass, settings, where):
            words = f"break-glass by {' and '.join(target.break_glass)}, and no such role covers it: nobody may"
            yield Finding(DOUBT, path, words)


def _elsewhere(
    path: str, needed: int, named: Sequence[str], settings: Settings, where: tuple[str, str]
) -> Iterator[Finding]:
    """More approvals than there are people whose role is about this place; enough, if all were."""
    there = len(_members(named, settings, where))
    if there < needed <= len(_members(named, settings)):
        words = f"{needed} of {' and '.join(named)}, with {there} whose role covers it: nothing can be approved"
        yield Finding(DOUBT, path, words)


def _members(names: Sequence[str], settings: Settings, where: tuple[str, str] | None = None) -> set[str]:
    """Who has one of these roles; with a service and an environment only those whose role covers it."""
    roles = [role for role in roles_of(settings) if role.name in names and (where is None or covers(role, *where))]
    return {member.lower() for role in roles for member in role.members}


# --- routes


def _routes(settings: Settings, projects: Sequence[str]) -> Iterator[Finding]:
    for index, route in enumerate(settings.routes):
        path, match = f"routes[{index}].match", route.match
        yield from _fitting_nothing(
            f"{path}.environment", match.environment, tuple(settings.environments), "environment"
        )
        yield from _fitting_nothing(f"{path}.project", match.project, projects, "project")
        if match.kind and not any(
            fnmatchcase(kind, glob.removeprefix("!")) for glob in match.kind for kind in _TOLD_OF
        ):
            words = f"nothing tells of {', '.join(match.kind)} yet, only of {' and '.join(_TOLD_OF)}"
            yield Finding(DOUBT, f"{path}.kind", words)
        if held := _held_though_critical(settings, route):
            words = f"the quiet hours of {', '.join(held)} except nothing: what is critical is held there all the same"
            yield Finding(DOUBT, f"routes[{index}].critical", words)


def _held_though_critical(settings: Settings, route: RouteSettings) -> list[str]:
    """The places of a critical route whose quiet hours hold it."""
    hours = {name: route.quiet_hours or settings.destinations[name].quiet_hours for name in route.to}
    return [name for name, quiet in hours.items() if route.critical and quiet is not None and not quiet.spared]


def _fitting_nothing(path: str, globs: Sequence[str], known: Sequence[str], what: str) -> Iterator[Finding]:
    """Globs that fit none of the known names; nothing where none are known."""
    for position, glob in enumerate(globs):
        body = glob.removeprefix("!")
        if known and not any(fnmatchcase(name, body) for name in known):
            words = f"{glob!r} fits no {what}{instead(body.strip('*'), known)}"
            yield Finding(DOUBT, f"{path}[{position}]", words)


# --- roles and clients


def _role(
    name: str, role: RoleSettings, settings: Settings, projects: Sequence[str], platforms: Iterable[str]
) -> Iterator[Finding]:
    path, members = f"roles.{name}", len(role.members)
    can = "everything" if "*" in role.can else ", ".join(role.can)
    where = [f"projects {', '.join(role.on.project)}"] if role.on.project != ("*",) else ["every project"]
    where += [f"environments {', '.join(role.on.environment)}"] if role.on.environment != ("*",) else []
    people = "1 member" if members == 1 else f"{members} members"
    yield Finding(OK, path, f"{people}; may {can}; on {', '.join(where)}")
    known = sorted({spec.permission for spec in VERBS if spec.permission})
    for position, word in enumerate(role.can):
        if word != "*" and word not in known:
            near = nearest(word, known)
            words = f"did you mean {near}?" if near else f"of {', '.join(known)}"
            yield Finding(DOUBT, f"{path}.can[{position}]", f"{word!r} grants nothing: {words}")
    for position, member in enumerate(role.members):
        if words := _stranger(member, settings, platforms):
            yield Finding(DOUBT, f"{path}.members[{position}]", words)
    yield from _fitting_nothing(f"{path}.on.project", role.on.project, projects, "project")
    environments = tuple(settings.environments)
    yield from _fitting_nothing(f"{path}.on.environment", role.on.environment, environments, "environment")


def _stranger(member: str, settings: Settings, platforms: Iterable[str]) -> str:
    """Why a member can be nobody; empty where it may be somebody."""
    platform, _, account = member.partition(":")
    if "@" in member or platform in settings.platforms:
        return ""
    if platform == API:
        return "" if account in settings.api else f"{account!r} is no client of api{instead(account, settings.api)}"
    return f"{platform} is not configured" if platform in platforms else f"{platform} is no platform"


def _client(name: str, settings: Settings) -> Finding:
    held = [role for role, section in settings.roles.items() if f"{API}:{name}" in section.members]
    if held:
        return Finding(OK, f"{API}.{name}", f"may what {', '.join(held)} may")
    return Finding(DOUBT, f"{API}.{name}", f"no role names {API}:{name}: it may ask, and change nothing")
