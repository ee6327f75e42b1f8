"""What Azure Boards says of work items and their updates, read leniently.

A service hook and the list of a work item's updates tell the same revisions, so that a change has one key, whichever
way it is told: https://learn.microsoft.com/en-us/azure/devops/service-hooks/events#work-item-updated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from bot.domain.issues import ChangeKind, Issue, IssueChange, StatusCategory
from integrations.azure_boards.config import SYSTEM
from integrations.azure_boards.html import plain_text
from integrations.texts import clean_line, clean_text

Json = Mapping[str, Any]
STATE, TAGS, CHANGED, PROJECT = "System.State", "System.Tags", "System.ChangedDate", "System.TeamProject"
FIELDS = (
    "System.Title",
    STATE,
    "System.WorkItemType",
    "Microsoft.VSTS.Common.Priority",
    "System.AssignedTo",
    TAGS,
    CHANGED,
    "System.Description",
    PROJECT,
)
MAX_DESCRIPTION = 2000
CATEGORIES = {
    "Proposed": StatusCategory.TO_DO,
    "InProgress": StatusCategory.IN_PROGRESS,
    "Resolved": StatusCategory.IN_PROGRESS,
    "Completed": StatusCategory.DONE,
    "Removed": StatusCategory.DONE,
}


def parse_item(row: Json, page: str, category: StatusCategory = StatusCategory.UNKNOWN) -> Issue:
    """A work item; `page` is the address of work items, with `{key}` in it."""
    fields = _dict(row, "fields")
    number = _word(row, "id")
    description = _text(fields, "System.Description")
    return Issue(
        key=f"AB#{number}",
        title=clean_line(_text(fields, "System.Title"), 255),
        status=_word(fields, STATE),
        category=category,
        kind=_word(fields, "System.WorkItemType"),
        priority=_word(fields, "Microsoft.VSTS.Common.Priority"),
        assignee=_person(fields.get("System.AssignedTo"))[1],
        labels=tags(fields.get(TAGS)),
        project=_word(fields, PROJECT),
        url=page.replace("{key}", number),
        description=clean_text(plain_text(description[: 10 * MAX_DESCRIPTION])[:MAX_DESCRIPTION], MAX_DESCRIPTION),
        updated_at=instant(fields.get(CHANGED)),
        id=number,
    )


def changes_of(item: Issue, update: Json, at: datetime) -> Iterator[IssueChange]:
    """What one update of a work item changed, of what can be a trigger; the first one tells what it was born with."""
    rev, fields = _word(update, "rev"), _dict(update, "fields")
    account, person = _person(update.get("revisedBy"))
    name = account.partition(":")[2]
    email = name if "@" in name else ""  # most organisations know people by their address
    base = f"workitem:{item.id}:rev:{rev}"

    def change(kind: ChangeKind, key: str, value: str) -> IssueChange:
        return IssueChange(kind, key[:200], value, at, item, account=account, person=person, email=email)

    state = _dict(fields, STATE)
    reached = _word(state, "newValue")
    if reached and reached != _word(state, "oldValue"):
        yield change(ChangeKind.STATUS_REACHED, f"{base}:state", reached)
    labels = _dict(fields, TAGS)
    before = {label.casefold() for label in tags(labels.get("oldValue"))}
    for label in tags(labels.get("newValue")):
        if label.casefold() not in before:
            yield change(ChangeKind.LABEL_ADDED, f"{base}:tag:{label.casefold()}", label)


def as_update(created: Json) -> Json:
    """A new work item as the update that made it."""
    fields = {name: {"newValue": value} for name, value in _dict(created, "fields").items()}
    return {
        "rev": created.get("rev", 1),
        "fields": fields,
        "revisedBy": _dict(created, "fields").get("System.CreatedBy"),
    }


def changed_at(update: Json) -> datetime | None:
    """When an update was made; its own date is that of the next one."""
    return instant(_dict(_dict(update, "fields"), CHANGED).get("newValue"))


def state_reached(update: Json) -> str:
    """The state that an update moved a work item to, from another one; empty where it did not."""
    state = _dict(_dict(update, "fields"), STATE)
    reached, left = _word(state, "newValue"), _word(state, "oldValue")
    return reached if left and reached != left else ""


def tags(value: object) -> tuple[str, ...]:
    """`a; b` as two."""
    words = value.split(";") if isinstance(value, str) else []
    return tuple(clean_line(word, 255) for word in words[:50] if word.strip())


def instant(value: object) -> datetime | None:
    """A time such as `2026-11-21T04:10:00.23Z`; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo is not None else None


def _person(value: object) -> tuple[str, str]:
    """Account and name: an object in newer answers, `Name <address>` in older ones."""
    if isinstance(value, Mapping):
        account, name = _word(value, "uniqueName") or _word(value, "id"), _word(value, "displayName")
    elif isinstance(value, str):
        name, _, rest = value.partition("<")
        account, name = clean_line(rest.rstrip("> "), 100), clean_line(name, 100)
    else:
        return "", ""
    return f"{SYSTEM}:{account}" if account else "", name or account


def _dict(row: Json, name: str) -> Json:
    value = row.get(name)
    return value if isinstance(value, Mapping) else {}


def _text(row: Json, name: str) -> str:
    value = row.get(name)
    return value if isinstance(value, str) else ""


def _word(row: Json, name: str) -> str:
    value = row.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return clean_line(value, 100) if isinstance(value, str) else ""
