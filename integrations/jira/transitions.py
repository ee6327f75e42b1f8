"""Which of an issue's transitions leads to a status, and what its screen must be given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bot.domain.issues import Issue, StatusCategory
from bot.errors import Rejected
from integrations.jira.config import SYSTEM
from integrations.texts import clean_line

Row = Mapping[str, Any]
_CATEGORY_WORDS = {
    "new": StatusCategory.TO_DO,
    "to do": StatusCategory.TO_DO,
    "indeterminate": StatusCategory.IN_PROGRESS,
    "in progress": StatusCategory.IN_PROGRESS,
    "done": StatusCategory.DONE,
}
_CATEGORY_KEYS = {
    StatusCategory.TO_DO: "new",
    StatusCategory.IN_PROGRESS: "indeterminate",
    StatusCategory.DONE: "done",
}
_RESOLUTIONS = ("done", "fixed", "resolved", "完成", "已完成", "已解决", "已修复")


def choose(rows: Sequence[Row], issue: Issue, status: str, resolution: str = "") -> Row | None:
    """The transition to a status, by its name in any case, else by its category's; None when it is there already.

    A transition's own name says nothing: it is the status behind it that counts; of several that lead there it is the
    one whose screen asks the least of us. Rejected: `no_transition`, and `several_statuses` where more than one is of
    that category: Closed and Rejected both are done.
    """
    wanted = status.strip().casefold()
    if issue.status.casefold() == wanted:
        return None
    by_name = [row for row in rows if _target(row, "name").casefold() == wanted]
    if by_name:
        return min(by_name, key=lambda row: _asks(row, resolution))
    category = _CATEGORY_WORDS.get(wanted)
    if category is not None:
        if issue.category is category:
            return None
        by_category = [row for row in rows if _category(row) == _CATEGORY_KEYS[category]]
        names = list(dict.fromkeys(_target(row, "name") for row in by_category))
        if len(names) > 1:
            detail = f"{status!r} may be {' or '.join(names)}: name the one that is meant"
            raise Rejected(SYSTEM, "several_statuses", clean_line(detail, 300))
        if by_category:
            return min(by_category, key=lambda row: _asks(row, resolution))
    ways = ", ".join(dict.fromkeys(_target(row, "name") for row in rows))
    detail = f"from {issue.status!r} it can go to {ways}" if ways else f"nothing leads out of {issue.status!r} for us"
    raise Rejected(SYSTEM, "no_transition", clean_line(detail, 300))


def leads_to(row: Row) -> str:
    """The name of the status behind a transition."""
    return _target(row, "name")


def fields_for(row: Row, resolution: str = "") -> dict[str, Any]:
    """What the transition's screen insists on and we can tell: a resolution. Rejected: `required_fields`, named.

    That is the configured one, or one that is known to say done; no other is made up.
    """
    given, asked = _filled(row, resolution)
    if asked:
        detail = f"the transition's screen asks for {', '.join(asked)}"
        raise Rejected(SYSTEM, "required_fields", clean_line(detail, 300))
    return given


def _asks(row: Row, resolution: str) -> tuple[int, int]:
    """How many fields of its screen we cannot fill in, and how many we can."""
    given, asked = _filled(row, resolution)
    return len(asked), len(given)


def _filled(row: Row, resolution: str) -> tuple[dict[str, Any], list[str]]:
    """What its screen is given, and the names of the fields that it asks for beside."""
    given: dict[str, Any] = {}
    asked = []
    for name, field in _open_fields(row):
        chosen = _resolved(field, resolution) if name == "resolution" else None
        if chosen is not None:
            given[name] = chosen
        else:
            asked.append(str(field.get("name") or name))
    return given, asked


def _resolved(field: Row, resolution: str) -> dict[str, str] | None:
    """The resolution to give, by its id: the name that is shown may be a translation, which Jira does not take."""
    allowed = field.get("allowedValues")
    values = [value for value in allowed if isinstance(value, Mapping)] if isinstance(allowed, list) else []
    names = {str(value.get("name", "")).strip().casefold(): value for value in values}
    chosen = next((names[word] for word in (resolution.strip().casefold(), *_RESOLUTIONS) if word in names), None)
    if chosen is None:
        return None
    number = chosen.get("id")
    return {"id": str(number)} if number else {"name": str(chosen["name"])}


def _open_fields(row: Row) -> Iterator[tuple[str, Row]]:
    """The fields of the transition's screen that must be given something."""
    fields = row.get("fields")
    for name, field in fields.items() if isinstance(fields, Mapping) else ():
        if isinstance(field, Mapping) and field.get("required") is True and field.get("hasDefaultValue") is not True:
            yield name, field


def _target(row: Row, name: str) -> str:
    to = row.get("to")
    value = to.get(name) if isinstance(to, Mapping) else None
    return value if isinstance(value, str) else ""


def _category(row: Row) -> str:
    to = row.get("to")
    category = to.get("statusCategory") if isinstance(to, Mapping) else None
    key = category.get("key") if isinstance(category, Mapping) else None
    return key if isinstance(key, str) else ""
