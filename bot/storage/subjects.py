"""Events and the subjects they fold into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Executable,
    FromClause,
    Select,
    and_,
    bindparam,
    exists,
    func,
    not_,
    or_,
    select,
    text,
    update,
)

from bot.domain.builds import Phase
from bot.domain.events import Event
from bot.domain.folding import Folded
from bot.domain.subjects import SubjectKey, SubjectKind
from bot.ports import SubjectRecord
from bot.storage.dialects import Insert, insert_new, upsert
from bot.storage.tables import events, jobs, subjects
from bot.storage.unit import Unit

MAX_LABEL = 250
_CHANGING = [column.name for column in subjects.c if column.name not in ("key", "environment")]


_LOCKS_LINE = text("pg_advisory_xact_lock(hashtextextended(:line, 0))")


@cache
def _add(dialect: str) -> Insert:
    return insert_new(dialect, events, "source", "delivery_key")


@cache
def _add_and_lock() -> Executable:
    """For PostgreSQL: a new row's project is locked in the same statement; a known row locks nothing."""
    return _add("postgresql").returning(_LOCKS_LINE)


@cache
def _put(dialect: str) -> Insert:
    return upsert(dialect, subjects, ["key"], _CHANGING)


_NEWEST_EVENTS = (
    select(events.c.kind, events.c.occurred_at, events.c.received_at)
    .where(events.c.subject_key == bindparam("key"))
    .order_by(events.c.id.desc())
    .limit(bindparam("most"))
)


class SqlEventLog:
    """The events table."""

    def __init__(self, connection: Unit) -> None:
        self._connection = connection

    def add(self, event: Event, received_at: float) -> bool:
        """Store an event; False when its delivery is known already.

        Once it is stored nobody else stores one of the same project until the transaction ends: what an event makes of
        its subject depends on the subjects before and after it, which may not even be there yet.
        """
        row = {
            "source": event.source,
            "delivery_key": event.delivery_key,
            "kind": event.kind.value,
            "subject_key": str(event.subject),
            "occurred_at": event.occurred_at.timestamp(),
            "received_at": received_at,
            "body": {
                "phase": int(event.phase),
                "generation": event.generation,
                "attempt": event.attempt,
                "facts": event.facts.to_json(),
            },
        }
        if self._connection.dialect.name == "postgresql":
            line = {"line": f"{event.source}/{event.subject.project}"}
            return self._connection.execute(_add_and_lock(), {**row, **line}).first() is not None
        return self._connection.execute(_add(self._connection.dialect.name), row).rowcount == 1

    def of_subject(self, key: str, limit: int) -> Sequence[tuple[str, float, float]]:
        """The newest events of a subject, oldest first: kind, occurred_at, received_at."""
        newest = self._connection.execute(_NEWEST_EVENTS, {"key": key, "most": limit})
        return [(kind, occurred, received) for kind, occurred, received in newest][::-1]


SUBJECT_COLUMNS = (subjects.c.key, subjects.c.folded, subjects.c.revision, subjects.c.is_fixed)
_IS_BUILD = subjects.c.kind == SubjectKind.BUILD.value
_BY_KEY = select(*SUBJECT_COLUMNS).where(subjects.c.key == bindparam("key"))


def _neighbour(*, earlier: bool) -> Select[Any]:
    """The run before, or after, in its line.

    CI systems count whole seconds and start several runs in one: their numbers tell them apart, 9 before 10. The time
    is looked for first, along an index, so that only the runs of one second are ever sorted.
    """
    nearest = subjects.alias("nearest")
    at = select(nearest.c.ordered_at).where(_is_beside(nearest, earlier=earlier)).limit(1)
    at = at.order_by(nearest.c.ordered_at.desc() if earlier else nearest.c.ordered_at)
    there = select(*SUBJECT_COLUMNS).where(
        _is_beside(subjects, earlier=earlier), subjects.c.ordered_at == at.scalar_subquery()
    )
    width, number = func.length(subjects.c.number), subjects.c.number
    order = (width.desc(), number.desc()) if earlier else (width, number)
    return there.order_by(*order).limit(1)


def _is_beside(runs: FromClause, *, earlier: bool) -> ColumnElement[bool]:
    """Whether a run ended, is of the line that is asked about, and began before (or after) the one asked about."""
    at, width, number = runs.c.ordered_at, func.length(runs.c.number), runs.c.number
    then: ColumnElement[float] = bindparam("ordered_at")
    wide: ColumnElement[int] = bindparam("width")
    numbered: ColumnElement[str] = bindparam("number")
    is_beside: ColumnElement[bool] = (
        or_(at < then, width < wide, and_(width == wide, number < numbered))
        if earlier
        else or_(at > then, width > wide, and_(width == wide, number > numbered))
    )
    return and_(
        runs.c.key != bindparam("key"),
        *(runs.c[name] == bindparam(name) for name in ("source", "project", "branch")),
        runs.c.is_finished.is_(True),
        at <= then if earlier else at >= then,
        is_beside,
    )


_EARLIER, _LATER = _neighbour(earlier=True), _neighbour(earlier=False)
_SILENT = (
    select(*SUBJECT_COLUMNS)
    .where(
        text("NOT is_finished"),  # as the partial index says it, or SQLite does not use it
        _IS_BUILD,
        subjects.c.updated_at < bindparam("before"),
        not_(exists(select(jobs.c.key).where(jobs.c.subject_key == subjects.c.key))),
    )
    .order_by(subjects.c.updated_at)
    .limit(bindparam("most"))
)
_HEARD = (
    update(subjects)
    .where(subjects.c.key == bindparam("subject"), subjects.c.updated_at < bindparam("at"))
    .values(updated_at=bindparam("at"))
)


class SqlSubjects:
    """The subjects table."""

    def __init__(self, connection: Unit) -> None:
        self._connection = connection

    def get(self, key: SubjectKey) -> SubjectRecord | None:
        """One subject."""
        row = self._connection.execute(_BY_KEY, {"key": str(key)}).first()
        return None if row is None else subject_record(row)

    def put(self, record: SubjectRecord, at: float) -> None:
        """Store a subject's new state."""
        self._connection.execute(_put(self._connection.dialect.name), _row(record, at))

    def neighbour(self, record: SubjectRecord, *, earlier: bool) -> SubjectRecord | None:
        """The nearest finished run of the same source, project and branch that started before (or after) this one."""
        line = {
            "key": str(record.key),
            "source": record.key.source,
            "project": record.key.project,
            "branch": _branch(record.folded.values),
            "ordered_at": record.folded.ordered_at,
            "width": len(record.key.number),
            "number": record.key.number,
        }
        row = self._connection.execute(_EARLIER if earlier else _LATER, line).first()
        return None if row is None else subject_record(row)

    def find(self, project: str, number: str) -> Sequence[SubjectRecord]:
        """Subjects that people may mean by `project#number`, of any source."""
        is_meant = and_(_IS_BUILD, subjects.c.project == project, subjects.c.number == number)
        rows = select(*SUBJECT_COLUMNS).where(is_meant).limit(10)
        return [subject_record(row) for row in self._connection.execute(rows)]

    def newest(self, project: str | None, limit: int) -> Sequence[SubjectRecord]:
        """The newest subjects, of one project or of all, newest first."""
        rows = select(*SUBJECT_COLUMNS).where(_IS_BUILD).order_by(subjects.c.ordered_at.desc()).limit(limit)
        if project is not None:
            rows = rows.where(subjects.c.project == project)
        return [subject_record(row) for row in self._connection.execute(rows)]

    def silent(self, before: float, limit: int) -> Sequence[SubjectRecord]:
        """Open builds that nothing new was heard of since `before`, and that no job asks about."""
        rows = self._connection.execute(_SILENT, {"before": before, "most": limit})
        return [subject_record(row) for row in rows]

    def heard(self, key: SubjectKey, at: float) -> None:
        """Note that something was heard of a subject that was nothing new."""
        self._connection.execute(_HEARD, {"subject": str(key), "at": at})


def subject_record(row: Any) -> SubjectRecord:  # noqa: ANN401 - a row of SUBJECT_COLUMNS
    """A subject as it was stored."""
    return SubjectRecord(SubjectKey.parse(row.key), Folded.from_json(row.folded), row.revision, row.is_fixed)


def _row(record: SubjectRecord, at: float) -> dict[str, Any]:
    folded = record.folded
    return {
        "key": str(record.key),
        "kind": record.key.kind.value,
        "source": record.key.source,
        "project": record.key.project,
        "number": record.key.number,
        "branch": _branch(folded.values),
        "status": str(folded.values.get("status", "")),
        "is_finished": folded.phase is Phase.FINISHED,
        "is_fixed": record.is_fixed,
        "ordered_at": folded.ordered_at,
        "revision": record.revision,
        "folded": folded.to_json(),
        "updated_at": at,
    }


def _branch(values: Mapping[str, Any]) -> str:
    return str(values.get("branch") or "")[:MAX_LABEL]
