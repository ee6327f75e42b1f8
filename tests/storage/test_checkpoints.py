"""SQLite's log is copied back beside who writes, and begins anew."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event
from structlog.testing import capture_logs

from bot.storage.checkpoints import Checkpoints
from bot.storage.store import CONNECTIONS, open_sqlite
from tests.stores import NOW, event_of, fresh_sqlite, make_store
from tests.waiting import wait_until

SOON_S = 0.01
PIECES = 100  # of 50 kB: more pages than SQLite itself copies back at, 1,000


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """A database with one table and an empty log, which somebody keeps open."""
    path = tmp_path / "shipmate.db"
    engine = open_sqlite(f"sqlite:///{path}")
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE notes (words BLOB)")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").all()
        yield path
    engine.dispose()


def add(path: Path, pieces: int = 1) -> None:
    """Commit rows one by one, over a connection as the store's are."""
    engine = open_sqlite(f"sqlite:///{path}")
    with engine.connect() as connection:
        for _ in range(pieces):
            connection.exec_driver_sql("INSERT INTO notes VALUES (zeroblob(50000))")
    engine.dispose()


def copied(path: Path, table: str = "notes") -> int:
    """How many rows the file tells of without its log; none while it is being written to."""
    with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as file, suppress(sqlite3.DatabaseError):
        found: int = file.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        return found
    return 0


def header(path: Path) -> bytes:
    """The log's header, whose salt is another each time that the log begins anew."""
    with path.with_name("shipmate.db-wal").open("rb") as log:
        return log.read(32)


def copy(path: Path) -> None:
    """Copy back what can be, as a commit of another process may."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()


def test_a_commit_leaves_copying_to_others(path: Path) -> None:
    """Nobody whose webhook is being stored waits for the pages of all who came before."""
    add(path, PIECES)
    assert copied(path) == 0


def test_what_was_committed_is_copied_and_the_log_begins_anew(path: Path) -> None:
    """The log does not grow with what is written: its room is used again."""
    checkpoints = Checkpoints(open_sqlite(f"sqlite:///{path}"), SOON_S)
    add(path, PIECES)
    before = header(path)
    checkpoints.note_commit()
    wait_until(lambda: copied(path) == PIECES, "the log to be copied")

    def begins_anew() -> bool:
        add(path)
        checkpoints.note_commit()
        return header(path) != before

    wait_until(begins_anew, "a new beginning of the log")
    checkpoints.close()


def test_a_copy_that_fails_is_told_and_made_up_for(path: Path) -> None:
    """Whatever stands in the way, the thread goes on; the log keeps what was written until then."""
    engine = create_engine(f"sqlite:///{path}", pool_size=2, max_overflow=0, pool_timeout=SOON_S)
    checkpoints = Checkpoints(engine, SOON_S)
    add(path)
    with capture_logs() as said:
        with engine.connect():
            checkpoints.note_commit()
            wait_until(lambda: said, "a line in the log")
        assert said[0]["event"] == "checkpoint failed"
        checkpoints.note_commit()
        wait_until(lambda: copied(path) == 1, "the next one")
    checkpoints.close()
    engine.dispose()


@pytest.mark.parametrize("is_copied", [False, True])
def test_no_log_that_begins_anew_is_copied(path: Path, is_copied: bool) -> None:
    """Not even if others have copied it all, and commit, at this very moment: SQLite might lose what they commit."""
    engine = open_sqlite(f"sqlite:///{path}")
    began_anew: list[bool] = []
    copies: list[int] = []  # rows in the file, before and after

    @event.listens_for(engine, "before_cursor_execute")
    def others_come(*call: Any) -> None:
        if "wal_checkpoint" in call[2]:
            copy(path)
            before = header(path)
            copies.append(copied(path))
            add(path)
            began_anew.append(header(path) != before)

    @event.listens_for(engine, "after_cursor_execute")
    def is_copied_back(*call: Any) -> None:
        if "wal_checkpoint" in call[2]:
            copies.append(copied(path))

    add(path, PIECES)
    if is_copied:
        copy(path)
    checkpoints = Checkpoints(engine, SOON_S)
    checkpoints.note_commit()
    wait_until(lambda: len(copies) >= 2, "a copy")
    checkpoints.close()
    assert not began_anew[0] or copies[0] == copies[1]


def test_who_writes_waits_for_no_connection_of_the_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even while all the store's are taken: by who reads, watches the file, and looks whether it answers."""
    monkeypatch.setattr("bot.storage.store.Checkpoints", partial(Checkpoints, pause_s=0.0))
    is_copying, is_over = threading.Event(), threading.Event()

    def slowly(*call: Any) -> None:
        if "wal_checkpoint" in call[2]:
            is_copying.set()
            is_over.wait(30)

    engine = fresh_sqlite(tmp_path)
    store = make_store(engine)
    with ExitStack() as held:
        event.listen(Engine, "before_cursor_execute", slowly)
        held.callback(event.remove, Engine, "before_cursor_execute", slowly)
        held.callback(store.close)
        held.callback(is_over.set)
        store.write(lambda tx: tx.events.add(event_of(12), NOW))
        assert is_copying.wait(30)
        monkeypatch.setattr(engine.pool, "_timeout", SOON_S)
        for _ in range(CONNECTIONS - 1):
            held.enter_context(engine.connect())
        assert store.write(lambda tx: tx.events.add(event_of(13), NOW))


def test_the_store_asks_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a store has written is in its file soon, with nobody doing anything for it."""
    monkeypatch.setattr("bot.storage.store.Checkpoints", partial(Checkpoints, pause_s=SOON_S))
    engine = fresh_sqlite(tmp_path)
    store = make_store(engine)
    store.write(lambda tx: tx.events.add(event_of(), NOW))
    wait_until(lambda: copied(tmp_path / "shipmate.db", "events") == 1, "the event in the file")
    store.close()
