"""Writes of many rows: PostgreSQL takes new ones as one list, everything else is run for each row.

A round trip to PostgreSQL costs more than most of what a statement does. The list is one JSON parameter, so that the
statement is the same for any number of rows and is planned once:
https://www.postgresql.org/docs/current/functions-json.html#FUNCTIONS-JSON-PROCESSING-TABLE
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import JSON, ColumnElement, Table, Text, UpdateBase, bindparam, cast, column, func, select
from sqlalchemy.dialects import postgresql, sqlite

from bot.storage.dialects import Insert

Row = Mapping[str, Any]


class NewRows:
    """Rows of a table that are to be added, of which the columns `names` are given."""

    def __init__(self, dialect: str, table: Table, *names: str) -> None:
        self._is_list = dialect == "postgresql"
        self._table = table
        self._names = names
        self._texts = [name for name in names if isinstance(table.c[name].type, JSON)]

    def insert(self, *conditions: ColumnElement[bool]) -> Insert:
        """The INSERT of them; `conditions` are PostgreSQL's."""
        if not self._is_list:
            return sqlite.insert(self._table)
        # JSON within the list is text there: as a part of it, a NUL that it only spells would be refused.
        types = {name: Text() if name in self._texts else self._table.c[name].type for name in self._names}
        given = func.json_to_recordset(bindparam("rows", type_=JSON)).table_valued(
            *[column(name, of) for name, of in types.items()], name="given"
        )
        row = given.render_derived(with_types=True)
        values = [cast(row.c[name], JSON) if name in self._texts else row.c[name] for name in self._names]
        chosen = select(*values).where(*conditions)
        return postgresql.insert(self._table).from_select(list(self._names), chosen, include_defaults=False)

    def parameters(self, rows: Sequence[Row]) -> Any:  # noqa: ANN401 - one or several of what SQLAlchemy takes
        """What the INSERT is run with."""
        if not self._is_list:
            return rows
        return {"rows": [{**row, **{name: json.dumps(row[name]) for name in self._texts}} for row in rows]}


def _newer(_older: Row, newer: Row) -> Row:
    return newer


@dataclass(frozen=True, slots=True)
class Write:
    """A statement that writes rows, one or many at a time; nobody hears what came of it.

    Of two rows with the same values of the columns `once_per`, `merge` makes one. Without `new` it is run for each row.
    """

    statement: UpdateBase
    once_per: tuple[str, ...] = ()
    merge: Callable[[Row, Row], Row] = _newer
    new: NewRows | None = None

    def parameters(self, rows: Sequence[Row]) -> Any:  # noqa: ANN401 - one or several of what SQLAlchemy takes
        """What the statement is run with."""
        return rows if self.new is None else self.new.parameters(rows)
