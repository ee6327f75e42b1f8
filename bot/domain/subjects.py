"""Names of the things events are about."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class SubjectKind(StrEnum):
    """The kinds of thing a card can show."""

    BUILD = "build"
    DEPLOYMENT = "deployment"
    ALERT = "alert"
    ISSUE = "issue"
    TEST_REPORT = "test_report"
    SECURITY_FINDING = "security_finding"
    DIGEST = "digest"
    DEAD_LETTER = "dead_letter"


MAX_KEY = 300
_KEY = re.compile(r"(?P<kind>[a-z_]+):(?P<source>[A-Za-z0-9_.-]+)/(?P<project>.+)#(?P<number>[^#\s]+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class SubjectKey:
    """Identity of one thing: `build:buildbot/user-service#123`; at most 300 characters in its text form."""

    kind: SubjectKind
    source: str
    project: str
    number: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.source}/{self.project}#{self.number}"

    @property
    def short(self) -> str:
        """`user-service#123`, as people write it."""
        return f"{self.project}#{self.number}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The key written as `kind:source/project#number`; ValueError for anything else."""
        found = _KEY.fullmatch(text)
        if found is None or len(text) > MAX_KEY:
            raise ValueError(f"not a subject key: {text[:80]!r}")
        return cls(SubjectKind(found["kind"]), found["source"], found["project"], found["number"])
