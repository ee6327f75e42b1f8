"""Copying SQLite's write-ahead log back into the file, beside who writes; https://www.sqlite.org/wal.html#ckpt."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from bot.telemetry import logger

PAUSE_S = 10.0
PASSES = 3

_log = logger(__name__)


class Checkpoints:
    """A thread that copies the log back `pause_s` after the first commit that it was told of.

    It takes two connections of an engine of its own: none that anybody waits for.

    A passive checkpoint waits for nobody and nobody waits for it. The log begins anew when all of it has been copied
    before the next commit; what was added during a pass is so little that the next pass is over sooner.

    Up to SQLite 3.51.2 a checkpoint that begins when all has been copied must not meet the commit that begins the log
    anew: it may take what is committed next for copied, which is lost (https://www.sqlite.org/wal.html#walresetbug).
    Beside an open snapshot no log begins anew; and beside one that found all copied, a checkpoint does nothing.
    """

    def __init__(self, engine: Engine, pause_s: float = PAUSE_S) -> None:
        self._engine = engine
        self._pause_s = pause_s
        self._is_due = threading.Event()
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        self._thread.start()

    def note_commit(self) -> None:
        """Something was committed."""
        self._is_due.set()

    def close(self) -> None:
        """End; the last connection that is closed copies what is left."""
        self._is_closing.set()
        self._is_due.set()
        self._thread.join()
        self._engine.dispose()

    def _run(self) -> None:
        while self._is_due.wait() and not self._is_closing.wait(self._pause_s):
            self._is_due.clear()
            try:
                self._copy()
            except (DBAPIError, PoolTimeout) as problem:  # the log stays as it is, and the next commit asks again
                _log.warning("checkpoint failed", error=str(getattr(problem, "orig", problem)))

    def _copy(self) -> None:
        with self._engine.connect() as looking, self._engine.connect() as copying:
            copied = -1
            for _ in range(PASSES):
                with _snapshot(looking):
                    _, pages, _ = copying.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").one()
                if pages == copied:
                    return
                copied = pages


@contextmanager
def _snapshot(connection: Connection) -> Iterator[None]:
    """See the database as it is now, meanwhile."""
    connection.exec_driver_sql("BEGIN")
    try:
        connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").one()
        yield
    finally:
        connection.rollback()
