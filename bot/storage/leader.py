"""Which of several processes does what only one needs to do: whoever holds a lock of the database's."""

from __future__ import annotations

import threading

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from bot.storage.locks import Lock, try_for_session
from bot.telemetry import logger

IDLE_S = 30.0
# Unknown to servers before 14; the lock of a process that stands still there comes free with its host or its end.
_END_WHEN_IDLE = text("SELECT set_config(name, :limit, false) FROM pg_settings WHERE name = 'idle_session_timeout'")

log = logger(__name__)


class Leader:
    """Leads while its connection stands and holds the lock; when its process dies another one's next look takes it.

    The server ends the connection of one that has not looked for 30 s: its process stands still.

    On SQLite each leads: its tasks may run in two processes, and one host has no need of a choice.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._held: Connection | None = None
        self._is_over = False
        self._lock = threading.Lock()

    def start(self) -> None:
        """Nothing: the lock is taken when it is first asked for."""

    def stop(self) -> None:
        """Let another process lead."""
        with self._lock:
            self._is_over = True
            self._let_go()

    def leads(self) -> bool:
        """Whether this process leads now; takes the lead when it is free."""
        if self._engine.dialect.name != "postgresql":
            return True
        with self._lock:
            try:
                return not self._is_over and (self._still_holds() or self._takes())
            except SQLAlchemyError as problem:
                log.warning("the lead was lost with the connection", error=type(problem).__name__)
                self._let_go()
                return False

    def _still_holds(self) -> bool:
        if self._held is None:
            return False
        self._held.execute(text("SELECT 1"))
        return True

    def _takes(self) -> bool:
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        if not try_for_session(connection, Lock.CLOCK):
            connection.close()
            return False
        connection.detach()  # closing it really ends the session, and the lock with it
        self._held = connection  # whatever fails from here on lets go of it
        connection.execute(_END_WHEN_IDLE, {"limit": f"{1000 * IDLE_S:.0f}ms"})
        log.info("leading", what="clock")
        return True

    def _let_go(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.close()
