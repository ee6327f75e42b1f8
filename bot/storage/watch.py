"""How a worker hears of other processes' commits (SQLite).

`PRAGMA data_version` gives another number after a commit by another connection, without touching the disk:
https://sqlite.org/pragma.html#pragma_data_version
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from bot.telemetry import logger

INTERVAL_S = 0.01
REST_S = 1.0

log = logger(__name__)


class CommitWatch:
    """Calls `on_commit` when it begins to look, and when another connection has committed since it last looked.

    At most once in `interval_s` (seconds).
    """

    def __init__(self, engine: Engine, on_commit: Callable[[], None], interval_s: float = INTERVAL_S) -> None:
        self._engine = engine
        self._on_commit = on_commit
        self._interval_s = interval_s
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="commit-watch", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._is_over.set()
        self._thread.join()

    def trouble(self) -> str | None:
        """Why commits of others will not be heard any more, for `/readyz`; None while all is well."""
        return None if self._thread.is_alive() else "the thread that watches the database does not run"

    def _run(self) -> None:
        while not self._is_over.is_set():
            try:
                self._watch()
            except (SQLAlchemyError, self._engine.dialect.loaded_dbapi.Error) as problem:  # or no connection is free
                log.warning("commits cannot be watched, work is found a little later", error=problem)
                self._is_over.wait(REST_S)

    def _watch(self) -> None:
        with self._engine.connect() as connection:
            cursor = connection.connection.cursor()  # the driver's own: SQLAlchemy's costs ten times as much here
            seen = None
            while not self._is_over.wait(self._interval_s):
                (version,) = cursor.execute("PRAGMA data_version").fetchone()
                if version != seen:  # at the first look too: what came before it was heard by nobody
                    self._on_commit()
                seen = version
