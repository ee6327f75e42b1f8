"""The subjects that events fold into."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Double,
    FromClause,
    Integer,
    Row,
    Select,
    Text,
    and_,
    bindparam,
    column,
    exists,
    func,
    literal,
    not_,
    or_,
    select,
    text,
    true,
    union_all,
    update,
)
from sqlalchemy.types import TypeEngine

from bot.domain.builds import Phase
from bot.domain.events import Event
from bot.domain.folding import Folded, fold
from bot.domain.subjects import SubjectKey, SubjectKind
from bot.ports import SubjectRecord
from bot.storage.dialects import ONE, none_of, one_of, unseen
from bot.storage.rows import NewRows, Write
from bot.storage.tables import jobs, subjects
from bot.storage.unit import Unit
from bot.telemetry import UNREADABLE_ROWS, logger

log = logger(__name__)

MAX_LABEL = 250
_WRITTEN = [column.name for column in subjects.c if column.name != "environment"]

SUBJECT_COLUMNS = (subjects.c.key, subjects.c.folded, subjects.c.revision, subjects.c.is_fixed)
_IS_BUILD = subjects.c.kind == SubjectKind.BUILD.value
_BY_KEY = select(*SUBJECT_COLUMNS).where(subjects.c.key == bindparam("key"))


@cache
def _put(dialect: str) -> Write:
    rows = NewRows(dialect, subjects, *_WRITTEN)
    new = rows.insert()
    changed = {name: new.excluded[name] for name in _WRITTEN if name != "key"}
    return Write(new.on_conflict_do_update(index_elements=["key"], set_=changed), once_per=("key",), new=rows)


@cache
def _by_keys(dialect: str) -> Select[Any]:
    return select(*SUBJECT_COLUMNS).where(one_of(dialect, subjects.c.key, "keys"))


_ASKED: dict[str, TypeEngine[Any]] = {
    "source": Text(),
    "project": Text(),
    "branch": Text(),
    "ordered_at": Double(),
    "width": Integer(),
    "number": Text(),
}
MOST_ASKED = 64  # runs at once, on SQLite


def _neighbour(dialect: str, asked: FromClause, *wanted: ColumnElement[Any], earlier: bool) -> Select[*tuple[Any, ...]]:
    """The run before, or after, the one that a row of `asked` is about, in its line.

    CI systems count whole seconds and start several runs in one: their numbers tell them apart, 9 before 10. The time
    is looked for first, along an index, so that only the runs of one second are ever sorted.
    """
    nearest = subjects.alias("nearest")
    at = select(nearest.c.ordered_at).where(_is_beside(dialect, nearest, asked, earlier=earlier)).limit(ONE)
    at = at.order_by(nearest.c.ordered_at.desc() if earlier else nearest.c.ordered_at).correlate(asked)
    runs = subjects.alias("runs")
    # Without the range, which says nothing more: SQLite takes it for the index, and looks at a line's whole history.
    is_there = _is_aside(dialect, runs, asked, earlier=earlier), runs.c.ordered_at == at.scalar_subquery()
    width, number = func.length(runs.c.number), runs.c.number
    order = (width.desc(), number.desc()) if earlier else (width, number)
    there = select(*(runs.c[column.name] for column in wanted)).where(*is_there)
    return there.order_by(*order).limit(ONE).correlate(asked)


def _is_beside(dialect: str, runs: FromClause, asked: FromClause, *, earlier: bool) -> ColumnElement[bool]:
    """Whether a run ended, is of the line that is asked about, and began before (or after) the one asked about."""
    at, then = runs.c.ordered_at, asked.c.ordered_at
    return and_(_is_aside(dialect, runs, asked, earlier=earlier), at <= then if earlier else at >= then)


def _is_aside(dialect: str, runs: FromClause, asked: FromClause, *, earlier: bool) -> ColumnElement[bool]:
    """The same of one that began no later (or earlier) than the one asked about."""
    at, width, number = runs.c.ordered_at, func.length(runs.c.number), runs.c.number
    then, wide, numbered = asked.c.ordered_at, asked.c.width, asked.c.number
    is_aside: ColumnElement[bool] = (
        or_(at < then, width < wide, and_(width == wide, number < numbered))
        if earlier
        else or_(at > then, width > wide, and_(width == wide, number > numbered))
    )
    return and_(
        none_of(dialect, runs.c.key, "apart"),
        *(runs.c[name] == asked.c[name] for name in ("source", "project", "branch")),
        runs.c.is_finished.is_(True),
        is_aside,
    )


@cache
def _nearest_on_postgres() -> Select[*tuple[Any, ...]]:
    """The finished runs next to many, but for those `apart`: for each a row of the run before it and the one after."""
    lists = [unseen(name, ARRAY(of)) for name, of in _ASKED.items()]
    columns = [column(name, of) for name, of in _ASKED.items()]
    asked = func.unnest(*lists).table_valued(*columns, with_ordinality="place").render_derived("asked")
    earlier, later = (
        _neighbour("postgresql", asked, *SUBJECT_COLUMNS, earlier=earlier).lateral(name)
        for name, earlier in (("earlier", True), ("later", False))
    )
    found = select(*earlier.c, *later.c).select_from(asked.outerjoin(earlier, true()).outerjoin(later, true()))
    return found.order_by(asked.c.place)


@cache
def _nearest_on_sqlite(runs: int) -> Select[*tuple[Any, ...]]:
    """The same of so many; what is asked about the first of them is named `source0` and so on."""
    columns = _ASKED.items()
    of_each = [
        select(
            literal(place).label("place"), *(bindparam(f"{name}{place}", type_=of).label(name) for name, of in columns)
        )
        for place in range(runs)
    ]
    asked = union_all(*of_each).cte("asked")
    earlier, later = subjects.alias("earlier"), subjects.alias("later")
    found: FromClause = asked
    for side, is_earlier in ((earlier, True), (later, False)):
        key = _neighbour("sqlite", asked, subjects.c.key, earlier=is_earlier).scalar_subquery()
        found = found.outerjoin(side, side.c.key == key)
    shown = [side.c[one.name] for side in (earlier, later) for one in SUBJECT_COLUMNS]
    return select(*shown).select_from(found).order_by(asked.c.place)


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


_Place = tuple[float, int, str]


class _Run(NamedTuple):
    """A run's line, and where it stands there: of those that began in one second 9 comes before 10."""

    line: tuple[str, str, str]
    place: _Place

    @classmethod
    def of(cls, key: SubjectKey, folded: Folded) -> _Run:
        """Where a subject stands, folded so far."""
        line = (key.source, key.project, _branch(folded.values))
        return cls(line, (folded.ordered_at, len(key.number), key.number))


class SqlSubjects:
    """The subjects table."""

    def __init__(self, connection: Unit) -> None:
        self._connection = connection
        self._expected: dict[str, SubjectRecord | None] = {}
        self._put: dict[str, SubjectRecord] = {}  # in this transaction
        self._beside: dict[_Run, Sequence[SubjectRecord]] = {}

    def expect(self, events: Sequence[Event]) -> Sequence[str]:
        """Look at once, until `rest`, for what folding these events will ask for; returns the subjects that are there.

        What they will be folded to is tried out here, to look for the neighbours of all that end.
        """
        keys = list({str(event.subject): None for event in events})
        rows = self._connection.execute(_by_keys(self._connection.dialect.name), {"keys": keys})
        found = {row.key: subject_record(row) for row in rows}
        self._expected = {**dict.fromkeys(keys), **found}
        runs: dict[_Run, None] = {}
        states = {name: record.folded for name, record in found.items()}
        for event in events:
            name = str(event.subject)
            states[name] = state = fold(states.get(name), event)
            if state.is_finished:
                runs[_Run.of(event.subject, state)] = None
        self._beside = dict(zip(runs, self._look_beside(list(runs), keys), strict=True))
        return list(found)

    def rest(self) -> None:
        """Ask the database again from now on."""
        self._expected.clear()
        self._beside.clear()

    def get(self, key: SubjectKey) -> SubjectRecord | None:
        """One subject."""
        name = str(key)
        if name in self._expected:
            return self._expected[name]
        if name in self._put:
            return self._put[name]
        row = self._connection.aside(_BY_KEY, {"key": name}).first()
        return None if row is None else subject_record(row)

    def some(self, keys: Collection[str]) -> Sequence[SubjectRecord]:
        """Those of these subjects that there are; one whose row makes no sense is passed over."""
        query = _by_keys(self._connection.dialect.name)
        return readable(self._connection.execute(query, {"keys": list(keys)})) if keys else []

    def put(self, record: SubjectRecord, at: float) -> None:
        """Store a subject's new state."""
        name = str(record.key)
        self._connection.later(name, _put(self._connection.dialect.name), _row(record, at))
        self._put[name] = record
        if name in self._expected:
            self._expected[name] = record

    def neighbours(self, record: SubjectRecord) -> tuple[SubjectRecord | None, SubjectRecord | None]:
        """The nearest finished runs of the same source, project and branch that started before and after this one."""
        asked = _Run.of(record.key, record.folded)
        # What this transaction has put, or will put, is judged here as it is by now.
        known = {**self._expected, **self._put}
        runs = [run for run in known.values() if run is not None and run.folded.is_finished and run.key != record.key]
        if asked in self._beside:
            beside = self._beside[asked]
        else:
            (beside,) = self._look_beside([asked], [str(record.key), *known])
        runs += [run for run in beside if str(run.key) not in known]
        places = [(_Run.of(run.key, run.folded), run) for run in runs]
        line = [(where.place, run) for where, run in places if where.line == asked.line]
        _, earlier = max([one for one in line if one[0] < asked.place], key=_place, default=(None, None))
        _, later = min([one for one in line if one[0] > asked.place], key=_place, default=(None, None))
        return earlier, later

    def _look_beside(self, runs: Sequence[_Run], apart: Sequence[str]) -> list[Sequence[SubjectRecord]]:
        """The stored neighbours of runs, but for those `apart`."""
        asked = [(*run.line, *run.place) for run in runs]
        rows = self._rows_beside(asked, list(apart)) if asked else []
        width = len(SUBJECT_COLUMNS)
        return [readable(row[start : start + width] for start in (0, width) if row[start] is not None) for row in rows]

    def _rows_beside(self, asked: Sequence[Sequence[Any]], apart: Sequence[str]) -> list[Row[*tuple[Any, ...]]]:
        if self._connection.dialect.name == "postgresql":
            lists = dict(zip(_ASKED, map(list, zip(*asked, strict=True)), strict=True))
            return list(self._connection.aside(_nearest_on_postgres(), {**lists, "apart": apart}))
        found: list[Row[*tuple[Any, ...]]] = []
        for start in range(0, len(asked), MOST_ASKED):
            some = asked[start : start + MOST_ASKED]
            size = 1 << (len(some) - 1).bit_length()  # statements of a few sizes: what is left is asked twice
            named = {
                f"{name}{place}": value
                for place in range(size)
                for name, value in zip(_ASKED, some[place % len(some)], strict=True)
            }
            rows = self._connection.aside(_nearest_on_sqlite(size), {**named, "apart": apart})
            found += list(rows)[: len(some)]
        return found

    def find(self, project: str, number: str) -> Sequence[SubjectRecord]:
        """Subjects that people may mean by `project#number`, of any source."""
        is_meant = and_(_IS_BUILD, subjects.c.project == project, subjects.c.number == number)
        rows = select(*SUBJECT_COLUMNS).where(is_meant).limit(10)
        return readable(self._connection.execute(rows))

    def newest(self, project: str | None, limit: int) -> Sequence[SubjectRecord]:
        """The newest subjects, of one project or of all, newest first."""
        return readable(self._connection.execute(_newest(project, limit)))

    def unreadable(self, project: str, limit: int) -> Sequence[str]:
        """The keys of those among the newest of a project that `newest` passes over."""
        rows = self._connection.execute(_newest(project, limit)).all()
        return [row.key for row in rows if not readable([row])]

    def silent(self, before: float, limit: int) -> Sequence[SubjectRecord]:
        """Open builds that nothing new was heard of since `before`, and that no job asks about."""
        rows = self._connection.execute(_SILENT, {"before": before, "most": limit})
        return readable(rows)

    def heard(self, key: SubjectKey, at: float) -> None:
        """Note that something was heard of a subject that was nothing new."""
        self._connection.execute(_HEARD, {"subject": str(key), "at": at})


def _newest(project: str | None, limit: int) -> Select[Any]:
    rows = select(*SUBJECT_COLUMNS).where(_IS_BUILD).order_by(subjects.c.ordered_at.desc()).limit(limit)
    return rows if project is None else rows.where(subjects.c.project == project)


def subject_record(row: Sequence[Any]) -> SubjectRecord:
    """A subject as it was stored, of a row of SUBJECT_COLUMNS."""
    key, folded, revision, is_fixed = row
    return SubjectRecord(SubjectKey.parse(key), Folded.from_json(folded), revision, is_fixed)


def readable(rows: Iterable[Sequence[Any]]) -> list[SubjectRecord]:
    """The subjects of those rows that make sense: one that does not keeps nobody from the others."""
    found = []
    for row in rows:
        try:
            found.append(subject_record(row))
        except (AttributeError, LookupError, TypeError, ValueError) as problem:
            log.error("subject cannot be read, passed over", subject=row[0], error=problem)
            UNREADABLE_ROWS.labels("subjects").inc()
    return found


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


def _place(run: tuple[_Place, SubjectRecord]) -> _Place:
    return run[0]


def _branch(values: Mapping[str, Any]) -> str:
    return str(values.get("branch") or "")[:MAX_LABEL]
