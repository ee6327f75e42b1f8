"""What Jira says of issues and of their changes, read leniently: whatever is missing or odd is left out.

The history of an issue (`expand=changelog`) and the changelog of a webhook are the same rows with the same ids, so
that a change has one key, whichever way it is told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bot.domain.issues import ChangeKind, Issue, IssueChange, Release, StatusCategory
from integrations.jira.adf import plain_text
from integrations.texts import clean_line, clean_text

Json = Mapping[str, Any]
FIELDS = (
    "summary",
    "status",
    "issuetype",
    "priority",
    "assignee",
    "labels",
    "fixVersions",
    "project",
    "creator",
    "created",
    "updated",
    "description",
)
CHANGE_FIELDS = tuple(name for name in FIELDS if name != "description")
MAX_TITLE = 255
MAX_NAME = 100
MAX_DESCRIPTION = 2000
MAX_LIST = 50
MAX_KEY = 200
_CATEGORIES = {
    "new": StatusCategory.TO_DO,
    "indeterminate": StatusCategory.IN_PROGRESS,
    "done": StatusCategory.DONE,
}


def parse_issue(row: Json, page: str) -> Issue:
    """An issue; `page` is the address of issues, with `{key}` in it. Without fields only its key is known."""
    fields = _dict(row, "fields")
    key = _name(row, "key")
    status = _dict(fields, "status")
    return Issue(
        key=key,
        title=clean_line(_text(fields, "summary"), MAX_TITLE),
        status=_name(status, "name"),
        category=_CATEGORIES.get(_text(_dict(status, "statusCategory"), "key"), StatusCategory.UNKNOWN),
        kind=_name(_dict(fields, "issuetype"), "name"),
        priority=_name(_dict(fields, "priority"), "name"),
        assignee=_name(_dict(fields, "assignee"), "displayName"),
        labels=tuple(clean_line(label, 255) for label in _list(fields, "labels") if isinstance(label, str)),
        fix_versions=tuple(_name(one, "name") for one in _list(fields, "fixVersions") if isinstance(one, Mapping)),
        project=_name(_dict(fields, "project"), "key") or key.rpartition("-")[0],
        url=page.replace("{key}", key),
        description=_description(fields.get("description")),
        updated_at=instant(fields.get("updated")),
        id=_name(row, "id"),
    )


def parse_release(row: Json, project: str = "") -> Release:
    """A version of a project."""
    return Release(
        id=_name(row, "id"),
        name=clean_line(_text(row, "name"), 255),
        project=project,
        project_id=_name(row, "projectId"),
        is_released=row.get("released") is True,
    )


def released(release: Release, at: datetime) -> IssueChange:
    """The change that a version's release is; it happens once, however often it is undone and done again."""
    key = f"version:{release.id}:released"
    return IssueChange(ChangeKind.VERSION_RELEASED, key, release.name, at, release=release)


def changes_of(issue: Issue, changelog: Json, at: datetime, who: Json) -> Iterator[IssueChange]:
    """What one row of an issue's history changed, of what can be a trigger."""
    number = _name(changelog, "id")
    for item in _list(changelog, "items"):
        if not number or not isinstance(item, Mapping):
            continue
        field = item.get("fieldId") or item.get("field")
        if field == "status":
            reached = _name(item, "toString")
            yield _change(ChangeKind.STATUS_REACHED, f"changelog:{number}:status", reached, at, issue, who)
        elif field == "labels":
            before = _text(item, "fromString").split()
            added = [clean_line(label, 255).strip() for label in _text(item, "toString").split() if label not in before]
            for label in filter(None, added):
                yield _change(ChangeKind.LABEL_ADDED, f"changelog:{number}:label:{label}", label, at, issue, who)


def changes_at_birth(issue: Issue, status: str, labels: Sequence[str], at: datetime, who: Json) -> list[IssueChange]:
    """What an issue that was created is: its first status was reached, its first labels were added."""
    found = []
    if status:
        found.append(_change(ChangeKind.STATUS_REACHED, f"created:{issue.id}:status", status, at, issue, who))
    key = f"created:{issue.id}:label:"
    found.extend(_change(ChangeKind.LABEL_ADDED, f"{key}{label}", label, at, issue, who) for label in labels)
    return found


def changes_since(row: Json, since: datetime, page: str) -> Iterator[IssueChange]:
    """What happened to an issue that a search found with its history, oldest first."""
    issue = parse_issue(row, page)
    changelog, histories = _dict(row, "changelog"), _histories(row, since)
    created_at = instant(_dict(row, "fields").get("created"))
    is_whole = len(histories) >= int(changelog.get("total") or 0)
    if created_at is not None and created_at >= since and is_whole:
        status, labels = _at_birth(issue, histories)
        yield from changes_at_birth(issue, status, labels, created_at, _dict(_dict(row, "fields"), "creator"))
    yield from moves_since(row, since, page)


def moves_since(row: Json, since: datetime, page: str) -> Iterator[IssueChange]:
    """The same without what the issue was born with."""
    issue = parse_issue(row, page)
    for history in _histories(row, since):
        at = instant(history.get("created"))
        if at is not None and at >= since:
            yield from changes_of(issue, history, at, _dict(history, "author"))


def _histories(row: Json, since: datetime) -> list[Json]:
    """All that is told of an issue's history, the oldest first: Cloud begins with the newest."""
    told = _dict(row, "changelog").get("histories")
    histories = [one for one in told if isinstance(one, Mapping)] if isinstance(told, list) else []
    return sorted(histories, key=lambda one: (instant(one.get("created")) or since, _number(one)))


def instant(value: object) -> datetime | None:
    """A time such as `2026-11-21T04:10:00.000+0000`, or milliseconds since 1970; None for anything else."""
    try:
        if isinstance(value, str):
            found = datetime.fromisoformat(value)
            return found.astimezone(UTC) if found.tzinfo is not None else None
        if isinstance(value, int) and not isinstance(value, bool):
            return datetime.fromtimestamp(value / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None


def _at_birth(issue: Issue, histories: Sequence[Json]) -> tuple[str, list[str]]:
    """The first status and labels, found by going back from the present ones."""
    status, labels = issue.status, list(issue.labels)
    for history in reversed(histories):
        for item in _list(history, "items"):
            field = item.get("fieldId") or item.get("field") if isinstance(item, Mapping) else None
            if field == "status":
                status = _name(item, "fromString")
            elif field == "labels":
                labels = _text(item, "fromString").split()
    return status, labels


def _change(kind: ChangeKind, key: str, value: str, at: datetime, issue: Issue, who: Json) -> IssueChange:
    account = _name(who, "accountId") or _name(who, "name")
    person = _name(who, "displayName") or account
    if len(key) > MAX_KEY:
        key = f"{key[:100]}:{hashlib.sha256(key.encode()).hexdigest()[:32]}"
    return IssueChange(
        kind,
        key,
        clean_line(value, 255),
        at,
        issue,
        account=f"jira:{account}" if account else "",
        person=person,
        email=_name(who, "emailAddress"),
    )


def _number(row: Json) -> int:
    """A history's id, which grows from one to the next."""
    number = _name(row, "id")
    return int(number) if number.isdecimal() else 0


def _description(value: object) -> str:
    words = value if isinstance(value, str) else plain_text(value)
    return clean_text(words[:MAX_DESCRIPTION], MAX_DESCRIPTION)


def _dict(row: Json, name: str) -> Json:
    value = row.get(name)
    return value if isinstance(value, Mapping) else {}


def _list(row: Json, name: str) -> Sequence[Any]:
    value = row.get(name)
    return value[:MAX_LIST] if isinstance(value, list) else ()


def _text(row: Json, name: str) -> str:
    value = row.get(name)
    return value if isinstance(value, str) else ""


def _name(row: Json, name: str) -> str:
    """A short text, or a number as text."""
    value = row.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return clean_line(value, MAX_NAME) if isinstance(value, str) else ""
