"""The few places where SQLite and PostgreSQL spell the same thing differently.

Statements are built once and run many times: building one costs ten times what running it does. Those that depend on
the dialect are made by functions of its name, whose answers are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import (
    ARRAY,
    JSON,
    ColumnElement,
    Integer,
    ScalarSelect,
    Select,
    String,
    Table,
    all_,
    any_,
    bindparam,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import TypeEngine

T = TypeVar("T")
# As a limit: of one that is a parameter PostgreSQL may expect a tenth of the rows.
ONE = literal_column("1", Integer)
Insert = sqlite.Insert | postgresql.Insert


def insert_into(dialect: str, table: Table) -> Insert:
    """An INSERT that knows ON CONFLICT."""
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


def insert_new(dialect: str, table: Table, *unique: str) -> Insert:
    """An INSERT that does nothing where a row with the same `unique` columns stands."""
    return insert_into(dialect, table).on_conflict_do_nothing(index_elements=unique)


def upsert(dialect: str, table: Table, unique: Sequence[str], changed: Sequence[str], *, newest_by: str = "") -> Insert:
    """An INSERT that replaces the `changed` columns where a row with the same `unique` columns stands.

    With `newest_by`, a column, a row that stands is left alone where it is the newer one.
    """
    statement = insert_into(dialect, table)
    new_values = {name: statement.excluded[name] for name in changed}
    is_newer = statement.excluded[newest_by] >= table.c[newest_by] if newest_by else None
    return statement.on_conflict_do_update(index_elements=unique, set_=new_values, where=is_newer)


def greatest(dialect: str, *values: ColumnElement[Any]) -> ColumnElement[Any]:
    """The largest of several values in a row; SQLite calls that max()."""
    return func.greatest(*values) if dialect == "postgresql" else func.max(*values)


def one_of(dialect: str, column: ColumnElement[str], name: str) -> ColumnElement[bool]:
    """Whether a column is one of the values in the list `name`; one statement serves any number of them."""
    if dialect == "postgresql":
        return column == any_(bindparam(name, type_=ARRAY(String)))
    return column.in_(_listed(name))


def none_of(dialect: str, column: ColumnElement[str], name: str) -> ColumnElement[bool]:
    """The opposite of `one_of`."""
    if dialect == "postgresql":
        return column != all_(bindparam(name, type_=ARRAY(String)))
    return column.not_in(_listed(name))


def unseen(name: str, of: TypeEngine[T]) -> ScalarSelect[T]:
    """A parameter that PostgreSQL does not look at while it plans.

    What came since a moment is less than its figures of a table know of: it counts a row or none, and goes through all
    that came since, of whatever project. And of a list it counts the values, and plans anew for each.
    https://www.postgresql.org/docs/current/sql-prepare.html
    """
    return select(bindparam(name, type_=of)).scalar_subquery()


def _listed(name: str) -> Select[tuple[str]]:
    return select(func.json_each(bindparam(name, type_=JSON)).table_valued("value").c.value)
