"""Deployments that a tracker starts: which change fires which trigger, and with which version."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from bot.domain.issues import ChangeKind, Issue, IssueChange
from bot.domain.templates import fill, names_in

MAX_VERSION = 100
MAX_KEY = 180
ISSUE_NAMES = frozenset({"fix_version", "key", "status", "label", "project"})
RELEASE_NAMES = frozenset({"version", "project"})
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Trigger:
    """One rule of the configuration: what must happen in a tracker, and what is deployed then.

    `value` is the status or the label (in any case), of a version a regular expression for its whole name. Projects and
    types are alternatives; none at all means any. `version` is a template. Whatever the environment asks for holds,
    `approvals` can only ask for more. `on_success` and `on_failure` are statuses that the issue is moved to afterwards.
    `relates` is the kind of link that it gets then to the other issues in what was deployed.
    """

    name: str
    tracker: str
    kind: ChangeKind
    value: str
    service: str
    environment: str
    version: str
    projects: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    approvals: int = 0
    is_dry_run: bool = False
    comments: bool = True
    on_success: str = ""
    on_failure: str = ""
    relates: str = ""


@dataclass(frozen=True, slots=True)
class Firing:
    """A trigger and the change that fired it; `key` (at most 180 characters) is the same whenever that is told again.

    `problem` says why no version can be named: `no_fix_version`, `several_fix_versions` or `bad_version`.
    """

    trigger: Trigger
    change: IssueChange
    key: str
    version: str = ""
    problem: str = ""


def fired(triggers: Sequence[Trigger], change: IssueChange) -> list[Firing]:
    """What a change fires: at most once a service and environment, whatever the number of triggers that ask for it.

    A version whose project was not told fires nothing that names projects: tell it first (`is_undecided`).
    """
    found: dict[tuple[str, str], Firing] = {}
    for trigger in triggers:
        if _matches(trigger, change):
            found.setdefault((trigger.service, trigger.environment), _firing(trigger, change))
    return list(found.values())


def may_fire(triggers: Sequence[Trigger], change: IssueChange) -> bool:
    """Whether a change is worth keeping: it fires something, or may do so once its project and type are known."""
    return any(_matches(trigger, change) or _is_undecided(trigger, change) for trigger in triggers)


def outdated(change: IssueChange, issue: Issue) -> str:
    """Why a change counts no more, given the issue as it stands now; empty while it does."""
    match change.kind:
        case ChangeKind.STATUS_REACHED:
            return "" if _same(issue.status, change.value) else "status_moved_on"
        case ChangeKind.LABEL_ADDED:
            return "" if any(_same(label, change.value) for label in issue.labels) else "label_removed"
        case _:
            return ""


def circle(triggers: Sequence[Trigger]) -> tuple[str, ...]:
    """Names of triggers that would start each other for ever by the statuses they move issues to; empty without any."""
    by_status = [trigger for trigger in triggers if trigger.kind is ChangeKind.STATUS_REACHED]

    def walk(trigger: Trigger, path: tuple[Trigger, ...]) -> tuple[Trigger, ...]:
        if trigger in path:
            return path[path.index(trigger) :]
        for reached in filter(None, (trigger.on_success, trigger.on_failure)):
            for after in by_status:
                if _same(after.value, reached) and (found := walk(after, (*path, trigger))):
                    return found
        return ()

    for trigger in by_status:
        if found := walk(trigger, ()):
            return tuple(one.name for one in found)
    return ()


def version_names(kind: ChangeKind, value: str) -> frozenset[str]:
    """The names that a trigger's version template may use; those of a version include its expression's groups."""
    if kind is ChangeKind.VERSION_RELEASED:
        return RELEASE_NAMES | frozenset(re.compile(value).groupindex)
    return ISSUE_NAMES


def _matches(trigger: Trigger, change: IssueChange) -> bool:
    kind = change.issue.kind if change.issue is not None else ""
    return (
        _happened(trigger, change)
        and (not trigger.projects or _is_one_of(change.project, trigger.projects))
        and (not trigger.types or _is_one_of(kind, trigger.types))
    )


def _is_undecided(trigger: Trigger, change: IssueChange) -> bool:
    """Whether a short telling leaves out what decides: the project, or the issue's type."""
    if not _happened(trigger, change):
        return False
    project, kind = change.project, change.issue.kind if change.issue is not None else ""
    is_open = bool((trigger.projects and not project) or (trigger.types and not kind))
    is_wrong = (project and trigger.projects and not _is_one_of(project, trigger.projects)) or (
        kind and trigger.types and not _is_one_of(kind, trigger.types)
    )
    return is_open and not is_wrong


def _happened(trigger: Trigger, change: IssueChange) -> bool:
    if trigger.kind is not change.kind:
        return False
    if change.kind is ChangeKind.VERSION_RELEASED:
        return re.fullmatch(trigger.value, change.value) is not None
    return _same(trigger.value, change.value)


def _firing(trigger: Trigger, change: IssueChange) -> Firing:
    key = f"{trigger.tracker}:{change.key}:{trigger.service}:{trigger.environment}"
    if len(key) > MAX_KEY:
        key = f"{key[:100]}:{sha256(key.encode()).hexdigest()[:32]}"
    values = {"project": change.project}
    if change.kind is ChangeKind.VERSION_RELEASED:
        found = re.fullmatch(trigger.value, change.value)
        values |= {"version": change.value} | {
            name: text or "" for name, text in (found.groupdict() if found else {}).items()
        }
    elif change.issue is not None:
        versions = change.issue.fix_versions
        if "fix_version" in names_in(trigger.version) and len(versions) != 1:
            return Firing(trigger, change, key, problem="several_fix_versions" if versions else "no_fix_version")
        label = change.value if change.kind is ChangeKind.LABEL_ADDED else ""
        values |= {"fix_version": versions[0] if versions else "", "key": change.issue.key}
        values |= {"status": change.issue.status, "label": label}
    version = fill(trigger.version, values).strip()
    is_good = version and len(version) <= MAX_VERSION and not _UNPRINTABLE.search(version)
    return Firing(trigger, change, key, version) if is_good else Firing(trigger, change, key, problem="bad_version")


def _same(one: str, other: str) -> bool:
    return one.strip().casefold() == other.strip().casefold()


def _is_one_of(word: str, words: Sequence[str]) -> bool:
    return any(_same(word, one) for one in words)
