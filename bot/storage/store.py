"""The store: one writer that commits in groups, and readers beside it (SQLite, write-ahead log).

Writers queue up for one thread that runs what has gathered as one transaction, so that a burst pays for one flush to
disk. When a piece of work raises, the group is rolled back and each piece runs again in a transaction of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from cryptography.fernet import MultiFernet
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError

from bot.errors import StorageUnavailable
from bot.ports import Transaction
from bot.storage.transaction import SqlTransaction

T = TypeVar("T")
MAX_GROUP = 64
WRITE_DEADLINE_S = 8.0
# Copying the log back into the file costs several flushes, whatever it holds; 4,000 pages are 16 MiB.
CHECKPOINT_PAGES = 4000
CACHE_KIB = 16_384
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "busy_timeout=5000",
    "temp_store=MEMORY",
    f"wal_autocheckpoint={CHECKPOINT_PAGES}",
    f"cache_size=-{CACHE_KIB}",
)
_Work = tuple[Callable[[Transaction], Any], "Future[Any]"]


class SqliteStore:
    """A database file; `close` ends the writer after what is queued."""

    def __init__(self, engine: Engine, cipher: MultiFernet) -> None:
        self._engine = engine
        self._cipher = cipher
        self._queue: SimpleQueue[_Work | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in a transaction, committed when this returns; StorageUnavailable when it cannot commit."""
        future: Future[T] = Future()
        self._queue.put((work, future))
        try:
            return future.result(WRITE_DEADLINE_S)
        except TimeoutError:
            if future.cancel():
                raise StorageUnavailable("the database is too busy: not written, try again") from None
            return future.result()

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` against a snapshot that sees every commit before the call."""
        try:
            with self._engine.connect() as connection:
                connection.exec_driver_sql("BEGIN")
                return work(SqlTransaction(connection, self._cipher))
        except DBAPIError as problem:
            raise StorageUnavailable(f"the database cannot be read: {problem.orig}") from problem

    def close(self) -> None:
        """Commit what is queued, then let go of the file."""
        self._queue.put(None)
        self._thread.join()
        self._engine.dispose()

    def _run(self) -> None:
        is_open = True
        while is_open:
            group, is_open = self._gather()
            if group and not self._commit(group):
                for piece in group:
                    self._commit([piece], is_last=True)

    def _gather(self) -> tuple[list[_Work], bool]:
        """Whatever is queued now, at least one piece, and whether more may come."""
        group: list[_Work] = []
        piece = self._queue.get()
        while piece is not None:
            if piece[1].set_running_or_notify_cancel():
                group.append(piece)
            if len(group) >= MAX_GROUP:
                return group, True
            try:
                piece = self._queue.get_nowait()
            except Empty:
                return group, True
        return group, False

    def _commit(self, group: list[_Work], *, is_last: bool = False) -> bool:
        """Run a group in one transaction and answer its callers; False when it was rolled back unanswered."""
        is_last = is_last or len(group) == 1
        try:
            with self._engine.connect() as connection:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                results = self._results(connection, group)
                connection.commit()
        except BaseException as problem:  # noqa: BLE001 - whatever a piece raised belongs to its caller
            if is_last:
                group[0][1].set_exception(_as_error(problem))
            return is_last
        for (_, future), result in zip(group, results, strict=True):
            future.set_result(result)
        return True

    def _results(self, connection: Connection, group: list[_Work]) -> list[Any]:
        tx = SqlTransaction(connection, self._cipher)
        return [work(tx) for work, _ in group]


def open_sqlite(url: str) -> Engine:
    """An engine for a SQLite file, durable at every commit; a reader never waits for the writer."""
    engine = create_engine(
        url,
        connect_args={"timeout": 5.0, "check_same_thread": False},
        pool_size=20,
        hide_parameters=True,  # what people typed and what logs said would stand in tracebacks
    )

    @event.listens_for(engine, "connect")
    def set_pragmas(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's connection
        connection.isolation_level = None
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    return engine


def _as_error(problem: BaseException) -> BaseException:
    if isinstance(problem, DBAPIError):
        error = StorageUnavailable(f"the database did not commit: {problem.orig}")
        error.__cause__ = problem
        return error
    return problem
