"""The databases that benchmarks run on: a SQLite file as by default, or a PostgreSQL server with durable commits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, func, select, text

from bot.storage.postgres import open_postgres
from bot.storage.store import open_sqlite
from bot.storage.tables import audit, cards, commands
from tests.postgres_server import Cluster, cluster

# As a server is installed, but for its port: commits wait for the disk, and old rows are cleared away.
_AS_INSTALLED = ("fsync=on", "synchronous_commit=on", "full_page_writes=on", "shared_buffers=128MB", "autovacuum=on")


@contextmanager
def durable_postgres() -> Iterator[Cluster]:
    """A server of its own, gone afterwards."""
    with cluster(*_AS_INSTALLED) as server:
        yield server


def open_engine(url: str) -> Engine:
    """An engine as the product opens it."""
    return open_postgres(url) if url.startswith("postgresql") else open_sqlite(url)


def analyse(engine: Engine) -> None:
    """What PostgreSQL does by itself within minutes; SQLite plans without statistics, as the product leaves it."""
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("SET statement_timeout = 0"))
            connection.execute(text("VACUUM ANALYZE"))
            connection.execute(text("CHECKPOINT"))


def is_at_rest(engine: Engine) -> bool:
    """Whether all that is wanted is shown, all commands are done, and the trail is sealed."""
    is_wanted = (cards.c.wanted_revision > cards.c.shown_revision) & ~cards.c.is_dead
    asked = (
        select(func.count()).select_from(cards).where(is_wanted),
        select(func.count()).select_from(commands).where(commands.c.is_open),
        select(func.count()).select_from(audit).where(audit.c.hash.is_(None)),
    )
    with engine.connect() as connection:
        return not any(connection.scalar(one) for one in asked)
