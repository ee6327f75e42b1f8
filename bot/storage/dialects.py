"""The few places where SQLite and PostgreSQL spell the same thing differently."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, func
from sqlalchemy.dialects import postgresql, sqlite


def insert_into(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that knows ON CONFLICT."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def greatest(connection: Connection, *values: ColumnElement[Any]) -> ColumnElement[Any]:
    """The largest of several values in a row; SQLite calls that max()."""
    return func.greatest(*values) if connection.dialect.name == "postgresql" else func.max(*values)
