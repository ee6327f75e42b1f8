"""Writes of many rows: PostgreSQL takes a list of them at once, SQLite runs the statement for each.

A round trip to PostgreSQL costs more than most of what a statement does. The list is one JSON parameter, so that the
statement is the same for any number of rows and is planned once:
https://www.postgresql.org/docs/current/functions-json.html#FUNCTIONS-JSON-PROCESSING-TABLE
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import Any

from sqlalchemy import JSON, ColumnElement, Table, Text, UpdateBase, bindparam, cast, column, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import TypeEngine

from bot.storage.dialects import Insert

Row = Mapping[str, Any]


class Rows:
    """The rows to come, as a statement refers to them: `rows["name"]` is a column of theirs."""

    def __init__(self, dialect: str, columns: Mapping[str, TypeEngine[Any]]) -> None:
        self._columns = dict(columns)
        self._list: Any = None
        if dialect == "postgresql":
            # JSON within the list is text there: as a part of it, a NUL that it only spells would be refused.
            fields = [column(name, Text() if isinstance(of, JSON) else of) for name, of in columns.items()]
            given = func.json_to_recordset(bindparam("rows", type_=JSON)).table_valued(*fields, name="given")
            self._list = given.render_derived(with_types=True)

    def __getitem__(self, name: str) -> ColumnElement[Any]:
        of = self._columns[name]
        if self._list is None:
            return bindparam(f"row_{name}", type_=of)
        return cast(self._list.c[name], JSON) if isinstance(of, JSON) else self._list.c[name]

    def insert_into(self, table: Table) -> Insert:
        """An INSERT of the rows, whose columns are the table's."""
        values = {name: self[name] for name in self._columns}
        if self._list is None:
            return sqlite.insert(table).values(values)
        given = select(*values.values())
        return postgresql.insert(table).from_select(list(values), given, include_defaults=False)

    def parameters(self, rows: Sequence[Row]) -> Any:  # noqa: ANN401 - what SQLAlchemy takes
        """What a statement that refers to these rows is run with."""
        if self._list is None:
            return [{f"row_{name}": row[name] for name in self._columns} for row in rows]
        texts = [name for name, of in self._columns.items() if isinstance(of, JSON)]
        return {"rows": [{**row, **{name: json.dumps(row[name]) for name in texts}} for row in rows]}


def columns_of(table: Table, *names: str) -> dict[str, TypeEngine[Any]]:
    """Columns of a table for `Rows`."""
    return {name: table.c[name].type for name in names}


class Meeting(Enum):
    """What becomes of two rows about the same thing of which the first one still waits."""

    BESIDE = auto()  # both are written by one statement
    AFTER = auto()  # by one statement each, in their order
    INSTEAD = auto()  # the second one stands for both


class Write:
    """A statement that writes many rows; it cannot tell what came of it."""

    __slots__ = ("meeting", "rows", "statement")

    def __init__(self, rows: Rows, statement: UpdateBase, meeting: Meeting) -> None:
        self.rows = rows
        self.statement = statement
        self.meeting = meeting
