"""Issues of a tracker: what is known of one, its key in commits and branches, and what changed."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

MOST_KEYS = 20
_BEFORE, _AFTER = r"(?<![A-Za-z0-9])", r"(?![A-Za-z0-9])"
_ANY_KEY = re.compile(rf"{_BEFORE}([A-Z][A-Z0-9_]{{1,9}})-([1-9][0-9]{{0,9}}){_AFTER}")
_TYPED_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]{1,99}-[1-9][0-9]{0,9}")
_WORK_ITEM = re.compile(rf"{_BEFORE}AB#([1-9][0-9]{{0,9}}){_AFTER}", re.IGNORECASE)
_TYPED_WORK_ITEM = re.compile(r"(?:(?:AB)?#)?([1-9][0-9]{0,9})", re.IGNORECASE)
_STANDARDS = (
    "AES ARM BASE CP CVE CWE DIN ECMA EN ES FIPS GB GPT HTTP IEC IEEE IPV ISO JAVA JDK JEP JSR LATIN MD MP NIST NODE "
    "PEP PHP PKCS PR PYTHON RFC RSA SHA SOC SSL TLS UCS US USB UTC UTF WINDOWS X XEP"
)
_NO_PROJECTS = frozenset(_STANDARDS.split())
"""What stands before a number in names of standards, encodings and algorithms, where no projects are configured."""


class KeyStyle(StrEnum):
    """How a tracker's keys are written: `USER-12`, or `AB#12` (Azure Boards)."""

    PROJECT = "project"
    WORK_ITEM = "work_item"


@dataclass(frozen=True, slots=True)
class KeyRules:
    """How the keys of one tracker are told from other words, and the page of an issue.

    `projects` are upper-case keys; without any, only keys in upper case count, and never `UTF-8` or `SHA-256`.
    `page` is an address with `{key}` (of a work item: its number) in it.
    """

    projects: frozenset[str] = frozenset()
    style: KeyStyle = KeyStyle.PROJECT
    page: str = ""

    def find(self, text: str) -> tuple[str, ...]:
        """The keys in a commit's title or a branch's name, in their order, each once, at most 20."""
        if self.style is KeyStyle.WORK_ITEM:
            found = [f"AB#{number}" for number in _WORK_ITEM.findall(text)]
            return tuple(dict.fromkeys(found))[:MOST_KEYS]
        return issue_keys(text, self.projects)

    def parse(self, word: str) -> str | None:
        """The key that a person typed, in its usual spelling; None when it is none of this tracker's."""
        if self.style is KeyStyle.WORK_ITEM:
            number = _TYPED_WORK_ITEM.fullmatch(word)
            return f"AB#{number[1]}" if number else None
        key = word.upper()
        is_ours = not self.projects or key.rpartition("-")[0] in self.projects
        return key if _TYPED_KEY.fullmatch(word) and is_ours else None

    def url(self, key: str) -> str:
        """The page of an issue; empty where none is known."""
        return self.page.replace("{key}", key.rpartition("#")[2])


def issue_keys(text: str, projects: Collection[str] = ()) -> tuple[str, ...]:
    """Keys such as `USER-12` in a text, in their order, each once, at most 20.

    With `projects` (upper case) only theirs, in whatever case they are written: `feature/user-12-login`.
    """
    if projects:
        names = "|".join(re.escape(name) for name in sorted(projects, key=len, reverse=True))
        pattern = re.compile(rf"{_BEFORE}({names})-([1-9][0-9]{{0,9}}){_AFTER}", re.IGNORECASE)
        found = [f"{name.upper()}-{number}" for name, number in pattern.findall(text)]
    else:
        found = [f"{name}-{number}" for name, number in _ANY_KEY.findall(text) if name not in _NO_PROJECTS]
    return tuple(dict.fromkeys(found))[:MOST_KEYS]


class StatusCategory(StrEnum):
    """What a status means, whatever it is called."""

    TO_DO = "to_do"
    IN_PROGRESS = "in_progress"
    DONE = "done"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Issue:
    """One issue as its tracker tells of it; empty where it says nothing. `id` is the tracker's own, `kind` its type."""

    key: str
    title: str
    status: str
    category: StatusCategory = StatusCategory.UNKNOWN
    kind: str = ""
    priority: str = ""
    assignee: str = ""
    labels: tuple[str, ...] = ()
    fix_versions: tuple[str, ...] = ()
    project: str = ""
    url: str = ""
    description: str = ""
    updated_at: datetime | None = None
    id: str = ""

    def to_json(self) -> dict[str, Any]:
        """JSON values for the database, without the description; times as seconds since 1970 (UTC)."""
        updated = self.updated_at.timestamp() if self.updated_at is not None else None
        return {**asdict(self), "updated_at": updated, "description": ""}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The reverse of `to_json`; unknown names are ignored, so that newer rows can be read."""
        known = {field.name: stored[field.name] for field in fields(cls) if field.name in stored}
        known["category"] = StatusCategory(stored["category"])
        known["labels"], known["fix_versions"] = tuple(stored["labels"]), tuple(stored["fix_versions"])
        if stored.get("updated_at") is not None:
            known["updated_at"] = datetime.fromtimestamp(stored["updated_at"], UTC)
        return cls(**known)


@dataclass(frozen=True, slots=True)
class Release:
    """A version of a project in a tracker. A webhook tells its project's id only, not the key."""

    id: str
    name: str
    project: str = ""
    project_id: str = ""
    is_released: bool = True


class ChangeKind(StrEnum):
    """What happened, in the past tense."""

    STATUS_REACHED = "status_reached"
    LABEL_ADDED = "label_added"
    VERSION_RELEASED = "version_released"


@dataclass(frozen=True, slots=True)
class IssueChange:
    """One change in a tracker, as a webhook or a poll tells of it.

    `key` is the same however often and by whichever way the change is told (at most 200 characters). `value` is the
    status reached, the label added or the version's name. `issue` or `release` is what it happened to, as it stood
    then; `account` who did it, as the tracker names them, with their e-mail address where it tells that.
    """

    kind: ChangeKind
    key: str
    value: str
    occurred_at: datetime
    issue: Issue | None = None
    release: Release | None = None
    account: str = ""
    person: str = ""
    email: str = ""

    @property
    def project(self) -> str:
        """The project's key; empty where it was not told."""
        about = self.issue or self.release
        return about.project if about is not None else ""

    @property
    def target(self) -> str:
        """What it is about, in a word: the issue's key, or the version's name."""
        return self.issue.key if self.issue is not None else self.value

    def to_json(self) -> dict[str, Any]:
        """JSON values for the database."""
        return {
            "kind": self.kind.value,
            "key": self.key,
            "value": self.value,
            "occurred_at": self.occurred_at.timestamp(),
            "issue": self.issue.to_json() if self.issue else None,
            "release": asdict(self.release) if self.release else None,
            "account": self.account,
            "person": self.person,
            "email": self.email,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The reverse of `to_json`."""
        return cls(
            kind=ChangeKind(stored["kind"]),
            key=stored["key"],
            value=stored["value"],
            occurred_at=datetime.fromtimestamp(stored["occurred_at"], UTC),
            issue=Issue.from_json(stored["issue"]) if stored["issue"] else None,
            release=Release(**stored["release"]) if stored["release"] else None,
            account=stored["account"],
            person=stored["person"],
            email=stored.get("email", ""),
        )


@dataclass(frozen=True, slots=True)
class RemoteLink:
    """A link from an issue to something elsewhere; one with the same `global_id` (at most 255) is replaced."""

    global_id: str
    url: str
    title: str
    summary: str = ""
    is_done: bool = False
