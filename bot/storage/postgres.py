"""PostgreSQL as the engine: one writer a process, many processes; https://www.postgresql.org/docs/current/mvcc.html.

Writes run at READ COMMITTED. What must not happen twice at a time is held by locks that the operations take themselves:
rows (`FOR UPDATE`), rows that others leave out (`SKIP LOCKED`), and the advisory locks named in `locks`. Reads run on
one snapshot.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, TypeVar

from cryptography.fernet import MultiFernet
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from bot.errors import ConfigError, PayloadInvalid, StorageUnavailable
from bot.ports import Arrival, Transaction
from bot.storage.decoding import loads_or_none
from bot.storage.groups import PATIENCE_S, CommitLost, LineLocked, Locked, NotBegun, Piece, Submitted, Writer
from bot.storage.readers import POOL_WAIT_S, Readers
from bot.storage.tables import events
from bot.storage.transaction import SqlTransaction

T = TypeVar("T")
CONNECTIONS = 12
CONNECT_S = 5
MOST_TRIES = 5
PAUSE_S = 0.02  # at most, after the first try
# Deadlocks, lost serialisations and rows that another transaction added meanwhile: the same work again meets a new
# state. https://www.postgresql.org/docs/current/errcodes-appendix.html
_PASSING = frozenset({"40001", "40P01", "23505"})
_REFUSED = "22"  # the class of values that a column cannot hold
_LOCKED = "55P03"
_STORES_EVENTS = f"INSERT INTO {events.name} "  # which locks their projects before
_READ_ONLY = "25006"
# Who holds a lock may be a process that stands still. A group waits so long for one; then those that need it are told
# from the others by a glance each, and wait aside.
HURRY_S = 0.1
GLANCE_S = 0.005
STANDS_STILL_S = 30.0  # see the sessions' limit below
# A connection whose other end is gone without a word is noticed within half a minute on both sides, so that its locks
# come free: by keepalives while it is idle, else by what was sent and is not acknowledged (in milliseconds), for which
# the kernel alone would wait for a quarter of an hour. https://www.postgresql.org/docs/current/libpq-connect.html
UNACKNOWLEDGED_MS = 25_000
_SESSION = {
    "statement_timeout": "8s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "30s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": str(UNACKNOWLEDGED_MS),
    "timezone": "UTC",
    # What is asked often finds a few rows along an index. Its plan is made once, perhaps while its tables are empty and
    # anything would do, and is kept as they grow. https://www.postgresql.org/docs/current/sql-prepare.html
    "enable_seqscan": "off",
    # Nothing here is worth what it takes to start a second process, however many rows the planner expects.
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
}


class _Patience:
    """How long a group waits for a lock: longer where locks come, only slowly, since others' commits take long."""

    def __init__(self) -> None:
        self._is_worth_it = False
        self._hurries_until = 0.0

    def wait_s(self) -> float:
        """In seconds."""
        is_patient = self._is_worth_it and monotonic() > self._hurries_until
        return PATIENCE_S if is_patient else HURRY_S

    def note(self, waited_s: float, *, is_locked: bool) -> None:
        """Learn of a wait for a lock. One that was long and in vain was for somebody who stands still."""
        if waited_s >= PATIENCE_S:
            self._is_worth_it = not is_locked
            if is_locked:
                self._hurries_until = monotonic() + STANDS_STILL_S


class PostgresStore:
    """A database server; reads have a connection each, writes gather at one writer."""

    def __init__(self, engine: Engine, cipher: MultiFernet) -> None:
        self._engine = engine
        self._cipher = cipher
        self._reading = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._readers = Readers(CONNECTIONS)
        self._patience = _Patience()
        self._writer = Writer(self._write, self._write_apart)

    def write(self, work: Callable[[Transaction], T], arrival: Arrival | None = None, *, is_patient: bool = True) -> T:
        """Run `work` in a transaction, committed when this returns; StorageUnavailable when it cannot commit."""
        return self._writer.write(work, arrival, is_patient=is_patient)

    def submit(self, work: Callable[[Transaction], T], arrival: Arrival | None = None) -> Submitted[T]:
        """The same, without waiting for it."""
        return self._writer.submit(work, arrival)

    def longest_wait_s(self) -> float:
        """For how long the one who has waited longest does, but for who waits for a lock; 0 when nobody waits."""
        return self._writer.longest_wait_s()

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` against a snapshot that sees every commit before the call; anew where its connection is cut."""
        try:
            try:
                return self._read(work)
            except DBAPIError as problem:
                if not problem.connection_invalidated:
                    raise
                return self._read(work)  # an idle one had been cut: the others were thrown away with it
        except DBAPIError as problem:
            raise StorageUnavailable(f"the database cannot be read: {first_line(problem)}") from None
        except PoolTimeout:
            raise StorageUnavailable("all connections to the database are in use") from None

    def _read(self, work: Callable[[Transaction], T]) -> T:
        with self._readers.place(), self._reading.connect() as connection:
            found = work(SqlTransaction(connection, self._cipher))
            # Not taken back: after a rollback the driver has all statements of a connection prepared anew.
            # https://www.psycopg.org/psycopg3/docs/advanced/prepare.html
            connection.commit()
            return found

    def close(self) -> None:
        """Commit what is queued, then let go of the connections."""
        self._writer.close()
        self._engine.dispose()

    def _write(self, group: Sequence[Piece]) -> list[Any]:
        """Several pieces are tried once; a single one is tried anew where that helps. None waits long for a lock.

        Where connections lead to a server that only reads, all are tried again over new ones.

        The server's details of an error tell the values of a row, so that no error of it is kept as a cause.
        """
        for tries in range(1, MOST_TRIES + 1):
            try:
                return self._write_once(group)
            except DBAPIError as problem:
                if tries == 1 and _state_of(problem) == _READ_ONLY:
                    self._engine.dispose()  # they lead to a server that was the primary: new ones are asked for
                    continue
                if len(group) > 1 or tries == MOST_TRIES or not _is_passing(problem):
                    raise _as_error(problem) from None
                # Apart, so that the two that met do not meet again in the same order.
                time.sleep(random.uniform(0.0, tries * PAUSE_S))  # noqa: S311 - no secret hangs on it
        raise AssertionError("unreachable")

    def _write_once(self, group: Sequence[Piece]) -> list[Any]:
        with self._connected() as connection:
            wait_s = self._patience.wait_s()
            _wait_at_most(connection, wait_s)
            try:
                results = self._run(connection, group)
            except DBAPIError as problem:
                if _state_of(problem) == _LOCKED:
                    self._patience.note(wait_s, is_locked=True)
                raise
            _commit(connection)
            return results

    def _write_apart(self, pieces: Sequence[Piece], patience_s: float) -> list[Any]:
        """See `RunApart`. Who waits for a lock holds none but its own meanwhile, so that it keeps nobody else waiting.

        The others, who mostly need the lock that is held then, go together, and one by one only where that fails.
        """
        first, *others = pieces
        try:
            with self._connected() as connection:
                _wait_at_most(connection, patience_s or GLANCE_S)
                results = self._run_or_leave(connection, [first])
                self._patience.note(patience_s, is_locked=isinstance(results[0], Locked))
                _wait_at_most(connection, GLANCE_S)
                is_taken = isinstance(results[0], LineLocked) and len(first.lines) == 1
                taken = first.lines if is_taken else frozenset[str]()
                results += self._run_others(connection, others, taken, results[0])
                _commit(connection)
                return results
        except DBAPIError as problem:
            raise _as_error(problem) from None

    def _run_others(
        self, connection: Connection, pieces: Sequence[Piece], taken: frozenset[str], problem: object
    ) -> list[Any]:
        """What pieces return, together where that goes; the lines that are `taken` are not asked for one by one."""
        if not any(piece.lines & taken for piece in pieces):
            together = self._run_or_leave(connection, pieces)
            if not any(isinstance(result, Locked) for result in together):
                return together
        results = []
        for piece in pieces:
            if not piece.lines & taken:
                (result,) = self._run_or_leave(connection, [piece])
                if isinstance(result, LineLocked) and len(piece.lines) == 1:
                    taken, problem = taken | piece.lines, result
                results.append(result)
            else:
                results.append(problem)
        return results

    def _run_or_leave(self, connection: Connection, pieces: Sequence[Piece]) -> list[Any]:
        """What the pieces return; `Locked` for each, and nothing changed, where one of them met a lock."""
        savepoint = connection.begin_nested()
        try:
            results = self._run(connection, pieces)
        except DBAPIError as problem:
            if _state_of(problem) != _LOCKED:
                raise
            savepoint.rollback()
            return [_as_error(problem) for _ in pieces]
        savepoint.commit()
        return results

    def _run(self, connection: Connection, pieces: Sequence[Piece]) -> list[Any]:
        tx = SqlTransaction(connection, self._cipher)
        results = tx.run(pieces)
        tx.unit.flush()
        return results

    def _connected(self) -> Connection:
        try:
            return self._engine.connect()
        except PoolTimeout:
            raise NotBegun("all connections to the database are in use: not written, try again") from None
        except DBAPIError as problem:  # nobody there, or nobody who answers
            raise NotBegun(f"the database did not commit: {first_line(problem)}") from None


def open_postgres(url: str) -> Engine:
    """An engine for a PostgreSQL server, which is not asked yet; ConfigError where the driver is not installed."""
    try:
        return create_engine(
            url,
            json_deserializer=loads_or_none,
            hide_parameters=True,
            pool_size=CONNECTIONS,
            max_overflow=0,
            pool_timeout=POOL_WAIT_S,
            pool_use_lifo=True,
            connect_args={
                "connect_timeout": CONNECT_S,
                "target_session_attrs": "read-write",  # during a failover the address may lead to the standby
                "application_name": "shipmate",
                "options": " ".join(f"-c {name}={value}" for name, value in _SESSION.items()),
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                "tcp_user_timeout": UNACKNOWLEDGED_MS,
            },
        )
    except ImportError:
        raise ConfigError(
            "database_url", "PostgreSQL's driver is not installed: pip install 'shipmate[postgres]'"
        ) from None


def first_line(problem: DBAPIError) -> str:
    """What the server or the driver says, without the hints and addresses on further lines."""
    return str(problem.orig).partition("\n")[0]


def _wait_at_most(connection: Connection, seconds: float) -> None:
    """Let no statement of the transaction wait for a lock for longer, from now on."""
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{1000 * seconds:.0f}ms'")


def _commit(connection: Any) -> None:  # noqa: ANN401 - SQLAlchemy's
    """Commit; a connection lost here leaves open whether it did, which the caller must not try again unasked."""
    try:
        connection.commit()
    except DBAPIError as problem:
        if problem.connection_invalidated:
            raise CommitLost("the database was lost while it committed") from None
        raise


def _is_passing(problem: DBAPIError) -> bool:
    """Whether the same work may succeed at once: the state has moved on, or an idle connection had been cut."""
    return problem.connection_invalidated or _state_of(problem) in _PASSING


def _state_of(problem: DBAPIError) -> str:
    """The server's word for what went wrong; empty where the driver has one of its own."""
    return getattr(problem.orig, "sqlstate", None) or ""


def _as_error(problem: DBAPIError) -> Exception:
    state = _state_of(problem)
    if state.startswith(_REFUSED) or "NUL" in str(problem.orig):
        return PayloadInvalid(f"the database cannot hold it: {first_line(problem)}")
    kind: type[StorageUnavailable] = StorageUnavailable
    if state == _LOCKED:
        kind = LineLocked if _STORES_EVENTS in (problem.statement or "") else Locked
    return kind(f"the database did not commit: {first_line(problem)}")
