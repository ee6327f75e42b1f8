"""A process's standing connection to PostgreSQL: it hears of others' commits, tells of ours, and compares the clocks.

https://www.postgresql.org/docs/current/sql-notify.html. A notice within a commit would make all commits wait for each
other, so it is sent after them, one for as many as have gathered. What a lost notice would have told is found by the
worker's look at the tables, at least once a second.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from bot.errors import StorageUnavailable
from bot.storage.clock import DatabaseClock
from bot.telemetry import logger

CHANNEL = "shipmate"
GAP_S = 0.005
MEASURE_EVERY_S = 10.0
REST_S = 1.0
_NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"

log = logger(__name__)


class PostgresLink:
    """Calls `on_commit` when another process has told of work; `ring` tells the others; `clock` is kept measured."""

    def __init__(self, engine: Engine, on_commit: Callable[[], None], clock: DatabaseClock) -> None:
        self.clock = clock
        self._engine = engine
        self._on_commit = on_commit
        self._is_over = threading.Event()
        self._is_rung = threading.Event()
        self._ends: tuple[socket.socket, socket.socket] | None = None  # what wakes the thread out of its waiting
        self._thread = threading.Thread(target=self._run, name="postgres-link", daemon=True)

    def measure(self) -> None:
        """Compare the clocks now; StorageUnavailable when the database does not answer."""
        measure(self._engine, self.clock)

    def start(self) -> None:
        """Begin to listen."""
        self._ends = socket.socketpair()
        for end in self._ends:
            end.setblocking(False)
        self._thread.start()

    def stop(self) -> None:
        """Listen no more."""
        self._is_over.set()
        self.ring()
        self._thread.join()

    def trouble(self) -> str | None:
        """Why commits of others will not be heard any more, for `/readyz`; None while all is well."""
        return None if self._thread.is_alive() else "the thread that listens to the database does not run"

    def ring(self) -> None:
        """Tell the other processes that there may be work; what rings before the start is told then."""
        if self._is_rung.is_set() and not self._is_over.is_set():
            return  # it will be told together with what rang before
        self._is_rung.set()
        if self._ends is not None:
            with suppress(OSError):  # full: it will wake anyway; closed: the process ends
                self._ends[1].send(b".")

    def _run(self) -> None:
        while not self._is_over.is_set():
            try:
                self._listen()
            except (SQLAlchemyError, self._engine.dialect.loaded_dbapi.Error) as problem:
                words = str(problem).partition("\n")[0]
                log.warning("commits of others are not heard, work is found a little later", error=words)
            except Exception as problem:  # the thread's edge: if it ended, nothing would ever be heard again
                log.exception("commits of others are not heard, work is found a little later", error=problem)
            self._is_over.wait(REST_S)
        for end in self._ends or ():
            end.close()

    def _listen(self) -> None:
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as pooled:
            driver = pooled.connection.driver_connection
            assert driver is not None
            pooled.detach()  # the pool's places are for those who come and go
            driver.execute(f"LISTEN {CHANNEL}")
            self._on_commit()  # what was told before
            measured_at = -MEASURE_EVERY_S
            while not self._is_over.is_set():
                if monotonic() - measured_at >= MEASURE_EVERY_S:
                    self.clock.measure(lambda: float(driver.execute(_NOW).fetchone()[0]))
                    measured_at = monotonic()
                    self._hear(driver)  # what came along with the answer would not end the waiting
                self._wait(driver, MEASURE_EVERY_S)

    def _wait(self, driver: Any, timeout_s: float) -> None:  # noqa: ANN401 - the driver's connection
        """Until somebody rings, here or elsewhere."""
        assert self._ends is not None
        if not self._is_rung.is_set():
            waiting = select.poll()  # select() takes no descriptor from 1,024 on, and a busy door has more
            waiting.register(driver.fileno(), select.POLLIN)
            waiting.register(self._ends[0], select.POLLIN)
            waiting.poll(timeout_s * 1000)
        with suppress(BlockingIOError):
            self._ends[0].recv(65536)
        if self._is_rung.is_set() and not self._is_over.is_set():
            self._is_rung.clear()
            driver.execute(f"NOTIFY {CHANNEL}")
            self._is_over.wait(GAP_S)
        self._hear(driver)

    def _hear(self, driver: Any) -> None:  # noqa: ANN401 - the driver's connection
        """Pass on what others told; own notices come back and are left out."""
        notices = list(driver.notifies(timeout=0))
        if any(notice.pid != driver.info.backend_pid for notice in notices):
            self._on_commit()


def measure(engine: Engine, clock: DatabaseClock) -> None:
    """Compare a clock with the server's; StorageUnavailable when that does not answer."""
    try:
        with engine.connect() as connection:
            clock.measure(lambda: float(connection.scalar(text(_NOW)) or 0.0))
    except (SQLAlchemyError, PoolTimeout):
        raise StorageUnavailable("the database does not tell its time") from None


def tell_all(engine: Engine) -> None:
    """Tell every process that listens that there may be work; one that does not hear of it finds it within a second."""
    with suppress(SQLAlchemyError, PoolTimeout), engine.connect() as connection:
        connection.exec_driver_sql(f"NOTIFY {CHANNEL}")
        connection.commit()
