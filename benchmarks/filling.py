"""A long history for a database: what stands there is repeated again and again, each time further in the past.

The rows are those that the product itself has written, so that their shape and size are right whatever the schema is;
only what must be unique, and the times, are changed. The statements run inside the database.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Engine,
    MetaData,
    String,
    Table,
    cast,
    func,
    insert,
    literal,
    select,
    text,
)

from bot.storage.tables import attempts, audit, cards, commands, events, subjects

GROWING = (events, subjects, cards, attempts, commands, audit)
STEP_S = 60.0
_NUMBERED = frozenset({"events.id", "audit.seq"})  # by the database
_NAMES = frozenset(
    {
        "events.subject_key",
        "subjects.key",
        "subjects.number",
        "cards.subject_key",
        "attempts.id",
        "commands.id",
        "commands.dedup_key",
        "commands.effect_key",
        "audit.command_id",
    }
)
_TIMES = frozenset({"occurred_at", "received_at", "ordered_at", "updated_at", "opened_at", "started_at", "finished_at"})
_OTHER_TIMES = frozenset({"accepted_at", "triggered_at", "at"})
_SEAL = "0" * 64


def repeat(engine: Engine, times: int, *, older_by_s: float) -> dict[str, int]:
    """Repeat what stands in the tables that grow, `times` times; how many rows each has then.

    The newest repetition is older than its model by `older_by_s` (seconds), each further one by a minute more.
    """
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":  # nothing of it need outlast a crash
            connection.execute(text("PRAGMA synchronous=OFF"))
            connection.execute(text("PRAGMA cache_size=-2000000"))
            connection.execute(text("BEGIN IMMEDIATE"))
        models = {table: _model(connection, table) for table in GROWING}
        width = int(connection.scalar(select(func.max(cards.c.id))) or 0)
        for number in range(times, 0, -1):  # as they would have come
            age_s = older_by_s + number * STEP_S
            for table, model in models.items():
                _copy(connection, table, model, number, width=width, age_s=age_s)
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT setval('cards_id_seq', (SELECT max(id) FROM cards))"))
        connection.commit()
        return {table.name: _count(connection, table) for table in GROWING}


def _model(connection: Connection, table: Table) -> Table:
    """A copy of a table as it is now, for this connection only."""
    model = table.to_metadata(MetaData(), name=f"model_{table.name}")
    connection.execute(text(f"CREATE TEMPORARY TABLE {model.name} AS SELECT * FROM {table.name}"))
    return model


def _copy(connection: Connection, table: Table, model: Table, number: int, *, width: int, age_s: float) -> None:
    names, values = [], []
    for column in model.c:
        if f"{table.name}.{column.name}" not in _NUMBERED:
            names.append(column.name)
            values.append(_changed(table, column, number, width, age_s, connection.dialect.name))
    connection.execute(insert(table).from_select(names, select(*values)))


def _changed(
    table: Table, column: Column[Any], number: int, width: int, age_s: float, dialect: str
) -> ColumnElement[Any]:
    """A column's value in a repetition."""
    name = f"{table.name}.{column.name}"
    if name in _NAMES:
        return column.concat(literal(f".{number}", String))
    if name in ("cards.id", "attempts.card_id"):
        return column + number * width
    if name == "events.delivery_key":  # senders' ids are random, and so is their place in the index
        return cast(func.gen_random_uuid(), String) if dialect == "postgresql" else func.hex(func.randomblob(16))
    if name in ("audit.hash", "audit.previous_hash"):
        return func.coalesce(column, literal(_SEAL, String))
    if column.name in _TIMES | _OTHER_TIMES:
        return column - age_s
    return column


def _count(connection: Connection, table: Table) -> int:
    return int(connection.scalar(select(func.count()).select_from(table)) or 0)
