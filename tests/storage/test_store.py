"""The writer: groups that commit together, pieces that fail alone, and honest answers when the disk is full."""

from __future__ import annotations

import sqlite3
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, select, text
from sqlalchemy.sql.functions import count

from bot.domain.audit import AuditEntry
from bot.errors import StorageUnavailable
from bot.ports import Transaction
from bot.storage import store as sqlite
from bot.storage.postgres import open_postgres
from bot.storage.store import open_sqlite
from bot.storage.tables import audit, events
from bot.storage.transaction import SqlTransaction
from bot.storage.unit import Unit
from tests.stores import NOW, SqlStore, event_of, make_store

READ_ONLY = {"sqlite": "PRAGMA query_only=ON", "postgresql": "SET default_transaction_read_only = on"}
NO_ROOM = """
CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION USING ERRCODE = 'disk_full', MESSAGE = 'No space left on device'; END $$;
CREATE TRIGGER no_room BEFORE INSERT ON events EXECUTE FUNCTION no_room()
"""


def _unit(tx: Transaction) -> Unit:
    assert isinstance(tx, SqlTransaction)
    return tx.unit


def _count(engine: Engine, table: object) -> int:
    with engine.connect() as connection:
        return connection.scalar(select(count()).select_from(table)) or 0  # type: ignore[arg-type] # a table


def test_pieces_that_gather_commit_together(store: SqlStore, database: Engine) -> None:
    """A burst of writers pays for few commits, and each gets its own answer."""
    commits: list[object] = []
    event.listen(database, "commit", commits.append)
    is_busy, go_on = threading.Event(), threading.Event()

    def occupy(tx: Transaction) -> None:
        assert tx.subjects.newest(None, 1) == []
        is_busy.set()
        assert go_on.wait(30)

    answers: dict[int, bool] = {}

    def write(number: int) -> None:
        answers[number] = store.write(lambda tx: tx.events.add(event_of(number), NOW))

    first = threading.Thread(target=store.write, args=(occupy,))
    first.start()
    assert is_busy.wait(30)
    others = [threading.Thread(target=write, args=(number % 20,)) for number in range(20)]
    for thread in others:
        thread.start()
    while store._writer.queue.qsize() < 20:
        threading.Event().wait(0.001)
    go_on.set()
    for thread in (first, *others):
        thread.join(30)
    assert answers == dict.fromkeys(range(20), True)
    assert len(commits) == 2


def test_a_refused_statement_does_not_tell_its_values(store: SqlStore) -> None:
    """What people typed and what logs said stand in no traceback of the database's."""
    typed = "in confidence"
    with pytest.raises(StorageUnavailable, match="the database did not commit: ") as caught:
        store.write(lambda tx: _unit(tx).execute(events.insert(), {"id": 1, "source": typed}))
    assert typed not in "".join(traceback.format_exception(caught.value))


def test_one_bad_piece_does_not_spoil_the_others(store: SqlStore, database: Engine) -> None:
    """Of a group, the piece that raises is told its own error; the others are committed."""
    is_busy, go_on = threading.Event(), threading.Event()

    def occupy(_tx: Transaction) -> None:
        is_busy.set()
        assert go_on.wait(30)

    def fail(tx: Transaction) -> None:
        tx.events.add(event_of(99), NOW)
        raise KeyError("mine")

    outcomes: dict[str, object] = {}

    def run(name: str, work: object) -> None:
        try:
            outcomes[name] = store.write(work)  # type: ignore[arg-type] # one of the pieces below
        except KeyError as problem:
            outcomes[name] = problem.args[0]

    threads = [threading.Thread(target=store.write, args=(occupy,))]
    threads[0].start()
    assert is_busy.wait(30)
    pieces = {
        "a": lambda tx: tx.events.add(event_of(1), NOW),
        "bad": fail,
        "b": lambda tx: tx.events.add(event_of(2), NOW),
    }
    for name, work in pieces.items():
        threads.append(threading.Thread(target=run, args=(name, work)))
        threads[-1].start()
    while store._writer.queue.qsize() < 3:
        threading.Event().wait(0.001)
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert outcomes == {"a": True, "bad": "mine", "b": True}
    assert _count(database, events) == 2


@contextmanager
def full_disk(database: Engine) -> Iterator[None]:
    """No room for further rows. SQLite runs out of pages; PostgreSQL's server is made to say what it says then."""
    if database.name == "postgresql":
        with database.begin() as connection:
            connection.exec_driver_sql(NO_ROOM)
        try:
            yield
        finally:
            with database.begin() as connection:
                connection.exec_driver_sql("DROP FUNCTION no_room CASCADE")
        return
    with database.connect() as connection:
        pages = connection.scalar(text("PRAGMA page_count")) or 0

    def limit(connection: sqlite3.Connection, *_: object, most: int = pages) -> None:
        connection.execute(f"PRAGMA max_page_count={most}")

    event.listen(database, "checkout", limit)
    yield
    event.remove(database, "checkout", limit)
    event.listen(database, "checkout", lambda connection, *_: limit(connection, most=100_000))


def test_a_full_disk_stores_nothing_and_says_so(store: SqlStore, database: Engine) -> None:
    """When room runs out the caller gets StorageUnavailable, the old rows stay, and room makes writing work again."""
    store.write(lambda tx: tx.events.add(event_of(1), NOW))
    big = event_of(2)
    big = replace(big, facts=replace(big.facts, log_excerpt="x" * 100_000))
    with full_disk(database), pytest.raises(StorageUnavailable, match=r"full|No space left"):
        store.write(lambda tx: tx.events.add(big, NOW))
    assert _count(database, events) == 1
    assert store.write(lambda tx: tx.events.add(big, NOW)) is True
    assert _count(database, events) == 2


def test_a_read_only_database_stores_nothing_and_says_so(store: SqlStore, database: Engine) -> None:
    """A database that may not be written answers StorageUnavailable, and can still be read."""
    event.listen(database, "connect", lambda driver, _: (driver.execute(READ_ONLY[database.name]), driver.commit()))
    database.dispose()  # connections from now on cannot write
    with pytest.raises(StorageUnavailable):
        store.write(lambda tx: tx.events.add(event_of(1), NOW))
    assert store.read(lambda tx: tx.subjects.newest(None, 1)) == []


def test_a_database_that_is_gone_says_so(database: Engine) -> None:
    """One that cannot be opened is StorageUnavailable to writers and readers alike, not an error of a library."""
    url = database.url.set(database=f"{database.url.database}/nowhere")
    missing = make_store(open_postgres(url) if url.get_backend_name() == "postgresql" else open_sqlite(url))
    with pytest.raises(StorageUnavailable):
        missing.write(lambda tx: tx.events.add(event_of(1), NOW))
    with pytest.raises(StorageUnavailable):
        missing.read(lambda tx: tx.subjects.newest(None, 1))
    missing.close()


def test_closing_commits_what_is_queued(database: Engine) -> None:
    """A stop loses nothing that was handed over."""
    store = make_store(database)
    is_busy, go_on = threading.Event(), threading.Event()

    def occupy(_tx: Transaction) -> None:
        is_busy.set()
        assert go_on.wait(30)

    writers = [threading.Thread(target=store.write, args=(occupy,))]
    writers[0].start()
    assert is_busy.wait(30)
    entry = AuditEntry(NOW, "slack:U1", "retry", "build:ci/a#1", "done")
    writers.append(threading.Thread(target=store.write, args=(lambda tx: tx.audit.append(entry),)))
    writers[1].start()
    while store._writer.queue.qsize() < 1:
        threading.Event().wait(0.001)
    closing = threading.Thread(target=store.close)
    closing.start()
    go_on.set()
    for thread in (*writers, closing):
        thread.join(30)
    assert _count(database, audit) == 1


def test_a_read_sees_every_commit_before_it(store: SqlStore) -> None:
    """What a write has answered is there for the next read."""
    for number in range(5):
        store.write(lambda tx, number=number: tx.events.add(event_of(number), NOW))
        subject = f"build:buildbot/user-service#{number}"
        assert len(store.read(lambda tx, subject=subject: tx.events.of_subject(subject, 10))) == 1


def test_a_log_that_one_reader_made_large_is_cut_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written while somebody reads for long stays in SQLite's log; afterwards its room is given back."""
    small = {"wal_autocheckpoint": 10, "journal_size_limit": 100_000, "synchronous": "OFF"}
    before = [pragma for pragma in sqlite._PRAGMAS if pragma.partition("=")[0] not in small]
    assert len(before) == len(sqlite._PRAGMAS) - len(small)
    monkeypatch.setattr(sqlite, "_PRAGMAS", (*before, *(f"{name}={value}" for name, value in small.items())))
    engine, log = open_sqlite(f"sqlite:///{tmp_path / 'shipmate.db'}"), tmp_path / "shipmate.db-wal"
    with engine.connect() as writer, engine.connect() as reader:
        writer.exec_driver_sql("CREATE TABLE notes (words BLOB)")
        reader.exec_driver_sql("BEGIN")
        reader.exec_driver_sql("SELECT count(*) FROM notes").all()
        for _ in range(20):
            writer.exec_driver_sql("INSERT INTO notes VALUES (zeroblob(50000))")
        assert log.stat().st_size > 1_000_000
        reader.rollback()
        for _ in range(3):  # the first copies the log into the file, the next begins it anew
            writer.exec_driver_sql("INSERT INTO notes VALUES ('x')")
        assert log.stat().st_size <= 100_000
    engine.dispose()
