"""The store: one writer that commits in groups, and readers beside it (SQLite, write-ahead log).

Writers queue up for one thread that runs what has gathered as one transaction, so that a burst pays for one flush to
disk. When a piece of work raises, the group is rolled back and each piece runs again in a transaction of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from cryptography.fernet import MultiFernet
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from bot.errors import StorageUnavailable
from bot.ports import Arrival, Transaction
from bot.storage.checkpoints import Checkpoints
from bot.storage.decoding import loads_or_none
from bot.storage.groups import NotBegun, Piece, Submitted, Writer
from bot.storage.readers import POOL_WAIT_S, Readers
from bot.storage.transaction import SqlTransaction

T = TypeVar("T")
# Where the log grows faster than `Checkpoints` copies it back, a commit does; 65,536 pages are 256 MiB.
CHECKPOINT_PAGES = 65_536
# What one long reader lets the log grow to is given back when it begins anew; up to here it is room for the next time.
LOG_KEPT_BYTES = 256 * 2**20
CACHE_KIB = 16_384
CONNECTIONS = 20
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "busy_timeout=5000",
    "temp_store=MEMORY",
    f"wal_autocheckpoint={CHECKPOINT_PAGES}",
    f"journal_size_limit={LOG_KEPT_BYTES}",
    f"cache_size=-{CACHE_KIB}",
)


class SqliteStore:
    """A database file; `close` ends the writer after what is queued."""

    def __init__(self, engine: Engine, cipher: MultiFernet) -> None:
        self._engine = engine
        self._cipher = cipher
        self._readers = Readers(CONNECTIONS)
        self._checkpoints = Checkpoints(open_sqlite(engine.url))
        self._writer = Writer(self._write)

    def write(self, work: Callable[[Transaction], T], arrival: Arrival | None = None, *, is_patient: bool = True) -> T:
        """Run `work` in a transaction, committed when this returns; StorageUnavailable when it cannot commit."""
        return self._writer.write(work, arrival, is_patient=is_patient)

    def submit(self, work: Callable[[Transaction], T], arrival: Arrival | None = None) -> Submitted[T]:
        """The same, without waiting for it."""
        return self._writer.submit(work, arrival)

    def longest_wait_s(self) -> float:
        """For how long the one who has waited longest for the writer does; 0 when nobody waits."""
        return self._writer.longest_wait_s()

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` against a snapshot that sees every commit before the call."""
        try:
            with self._readers.place(), self._engine.connect() as connection:
                connection.exec_driver_sql("BEGIN")
                return work(SqlTransaction(connection, self._cipher))
        except DBAPIError as problem:
            raise StorageUnavailable(f"the database cannot be read: {problem.orig}") from problem
        except PoolTimeout:
            raise StorageUnavailable("all connections to the database are in use") from None

    def close(self) -> None:
        """Commit what is queued, then let go of the file."""
        self._writer.close()
        self._checkpoints.close()
        self._engine.dispose()

    def _write(self, group: Sequence[Piece]) -> list[Any]:
        try:
            with self._engine.connect() as connection:
                _begin(connection)
                tx = SqlTransaction(connection, self._cipher)
                results = tx.run(group)
                tx.unit.flush()
                connection.commit()
                self._checkpoints.note_commit()
                return results
        except DBAPIError as problem:
            raise StorageUnavailable(f"the database did not commit: {problem.orig}") from problem
        except PoolTimeout:
            raise NotBegun("all connections to the database are in use: not written, try again") from None


def _begin(connection: Connection) -> None:
    """Begin to write; another program may have the file to itself for longer than we wait."""
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    except DBAPIError as problem:
        raise NotBegun(f"the database did not commit: {problem.orig}") from problem


def open_sqlite(url: str | URL) -> Engine:
    """An engine for a SQLite file, durable at every commit; a reader never waits for the writer."""
    engine = create_engine(
        url,
        connect_args={"timeout": 5.0, "check_same_thread": False},
        pool_size=CONNECTIONS,
        max_overflow=0,
        pool_timeout=POOL_WAIT_S,
        json_deserializer=loads_or_none,
        hide_parameters=True,  # what people typed and what logs said would stand in tracebacks
    )

    @event.listens_for(engine, "connect")
    def set_pragmas(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's connection
        connection.isolation_level = None
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    return engine
