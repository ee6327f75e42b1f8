"""The schema's version: looked at cheaply at every start, changed by Alembic when it must be."""

from __future__ import annotations

from pathlib import Path
from time import sleep

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import DBAPIError

from bot.errors import ConfigError
from bot.storage.locks import Lock, hold

HEAD = "0012"
MOST_TRIES = 50
PAUSE_S = 0.5
TABLE_WAIT_S = 2
_LOCKED_OUT = frozenset({"40P01", "55P03"})  # by processes at work: nothing was changed, all of it is tried again
_MIGRATIONS = Path(__file__).parent / "migrations"


def version_of(engine: Engine) -> str | None:
    """The schema version the database is at; None for an empty one."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        version: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return version


def can_serve(engine: Engine, version: str | None) -> bool:
    """Whether this code works with a database of `version`: its own, or a newer one that has only been added to.

    A version that takes something away, or changes its meaning, writes into `schema_support` who can do without it.
    """
    if version is None or version <= HEAD:
        return version == HEAD
    with engine.connect() as connection:
        oldest: str | None = connection.scalar(text("SELECT max(oldest) FROM schema_support"))
    return oldest is None or oldest <= HEAD


def upgrade(engine: Engine) -> bool:
    """Bring the schema to `HEAD`, one process at a time; False when there was nothing to do.

    ConfigError when it is so far beyond that this code cannot work with it.
    """
    if can_serve(engine, version_of(engine)):
        return False
    for tries in range(1, MOST_TRIES + 1):
        try:
            with engine.connect() as connection:
                _lock(connection)  # a second process waits here, then finds it done
                _run(connection)
                connection.commit()
            return True
        except DBAPIError as problem:
            if getattr(problem.orig, "sqlstate", None) not in _LOCKED_OUT or tries == MOST_TRIES:
                raise
            sleep(PAUSE_S)
    raise AssertionError("unreachable")


def _lock(connection: Connection) -> None:
    """Wait for other upgrades as long as they take, but never long for tables: whoever comes later waits behind us."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL lock_timeout = 0"))
        connection.execute(text("SET LOCAL statement_timeout = 0"))  # a large table takes as long as it takes
        hold(connection, Lock.SCHEMA)
        connection.execute(text(f"SET LOCAL lock_timeout = '{TABLE_WAIT_S}s'"))
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _run(connection: Connection) -> None:
    from alembic import command  # 0.2 s to import, needed once in a schema's life
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError:  # a revision that no file here describes
        raise ConfigError("database_url", "the database was written by a newer version: run that one") from None
