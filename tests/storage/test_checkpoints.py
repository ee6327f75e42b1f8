"""SQLite's log is copied back beside who writes, and begins anew."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from structlog.testing import capture_logs

from bot.storage.checkpoints import Checkpoints
from bot.storage.store import open_sqlite
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
    engine = create_engine(f"sqlite:///{path}", pool_size=1, max_overflow=0, pool_timeout=SOON_S)
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


def test_the_store_asks_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a store has written is in its file soon, with nobody doing anything for it."""
    monkeypatch.setattr("bot.storage.store.Checkpoints", partial(Checkpoints, pause_s=SOON_S))
    engine = fresh_sqlite(tmp_path)
    store = make_store(engine)
    store.write(lambda tx: tx.events.add(event_of(), NOW))
    wait_until(lambda: copied(tmp_path / "shipmate.db", "events") == 1, "the event in the file")
    store.close()
