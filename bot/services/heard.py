"""Builds as they were heard of."""

from __future__ import annotations

from collections.abc import Iterable

from bot.domain.builds import Build
from bot.ports import SubjectRecord
from bot.telemetry import UNREADABLE_ROWS, logger

log = logger(__name__)
_UNREADABLE = (AttributeError, LookupError, TypeError, ValueError)  # what a row that makes no sense raises


def readable_builds(records: Iterable[SubjectRecord]) -> list[Build]:
    """The builds of those records that make sense: one that does not keeps nobody from the others."""
    found = []
    for record in records:
        try:
            found.append(record.build())
        except _UNREADABLE as problem:  # a newer version knows what it says
            log.error("build cannot be read, passed over", subject=str(record.key), error=problem)
            UNREADABLE_ROWS.labels("subjects").inc()
    return found
