"""The writer: groups that commit together, pieces that fail alone, and honest answers when the disk is full."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.functions import count

from bot.domain.audit import AuditEntry
from bot.errors import StorageUnavailable
from bot.ports import Transaction
from bot.storage.store import SqliteStore, open_sqlite
from bot.storage.tables import audit, events
from tests.stores import NOW, SqlStore, event_of, make_store


def _count(engine: Engine, table: object) -> int:
    with engine.connect() as connection:
        return connection.scalar(select(count()).select_from(table)) or 0  # type: ignore[arg-type] # a table


def test_pieces_that_gather_commit_together(sqlite_store: SqliteStore, sqlite_database: Engine) -> None:
    """A burst of writers pays for few commits, and each gets its own answer."""
    commits: list[object] = []
    event.listen(sqlite_database, "commit", commits.append)
    is_busy, go_on = threading.Event(), threading.Event()

    def occupy(_tx: Transaction) -> None:
        is_busy.set()
        assert go_on.wait(10)

    answers: dict[int, bool] = {}

    def write(number: int) -> None:
        answers[number] = sqlite_store.write(lambda tx: tx.events.add(event_of(number), NOW))

    first = threading.Thread(target=sqlite_store.write, args=(occupy,))
    first.start()
    assert is_busy.wait(10)
    others = [threading.Thread(target=write, args=(number % 20,)) for number in range(20)]
    for thread in others:
        thread.start()
    while sqlite_store._writer.queue.qsize() < 20:
        threading.Event().wait(0.001)
    go_on.set()
    for thread in (first, *others):
        thread.join(10)
    assert answers == dict.fromkeys(range(20), True)
    assert len(commits) == 2


def test_a_refused_statement_does_not_tell_its_values(sqlite_database: Engine) -> None:
    """What people typed and what logs said stand in no traceback of the database's."""
    typed = "in confidence"
    with sqlite_database.connect() as connection, pytest.raises(IntegrityError) as caught:
        connection.execute(events.insert(), {"id": 1, "source": typed})
    said = str(caught.value)
    assert "INSERT INTO events" in said
    assert typed not in said


def test_one_bad_piece_does_not_spoil_the_others(sqlite_store: SqliteStore, sqlite_database: Engine) -> None:
    """Of a group, the piece that raises is told its own error; the others are committed."""
    is_busy, go_on = threading.Event(), threading.Event()

    def occupy(_tx: Transaction) -> None:
        is_busy.set()
        assert go_on.wait(10)

    def fail(tx: Transaction) -> None:
        tx.events.add(event_of(99), NOW)
        raise KeyError("mine")

    outcomes: dict[str, object] = {}

    def run(name: str, work: object) -> None:
        try:
            outcomes[name] = sqlite_store.write(work)  # type: ignore[arg-type] # one of the pieces below
        except KeyError as problem:
            outcomes[name] = problem.args[0]

    threads = [threading.Thread(target=sqlite_store.write, args=(occupy,))]
    threads[0].start()
    assert is_busy.wait(10)
    pieces = {
        "a": lambda tx: tx.events.add(event_of(1), NOW),
        "bad": fail,
        "b": lambda tx: tx.events.add(event_of(2), NOW),
    }
    for name, work in pieces.items():
        threads.append(threading.Thread(target=run, args=(name, work)))
        threads[-1].start()
    while sqlite_store._writer.queue.qsize() < 3:
        threading.Event().wait(0.001)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert outcomes == {"a": True, "bad": "mine", "b": True}
    assert _count(sqlite_database, events) == 2


def test_a_full_disk_stores_nothing_and_says_so(sqlite_store: SqliteStore, sqlite_database: Engine) -> None:
    """When pages run out the caller gets StorageUnavailable, the old rows stay, and room makes writing work again."""
    sqlite_store.write(lambda tx: tx.events.add(event_of(1), NOW))
    with sqlite_database.connect() as connection:
        pages = connection.scalar(text("PRAGMA page_count")) or 0

    def limit(connection: sqlite3.Connection, most: int) -> None:
        connection.execute(f"PRAGMA max_page_count={most}")

    def shrink(connection: sqlite3.Connection, _record: object, _proxy: object) -> None:
        limit(connection, pages)

    event.listen(sqlite_database, "checkout", shrink)
    big = event_of(2, log="x" * 100_000)
    with pytest.raises(StorageUnavailable, match="full"):
        sqlite_store.write(lambda tx: tx.events.add(big, NOW))
    event.remove(sqlite_database, "checkout", shrink)
    assert _count(sqlite_database, events) == 1
    event.listen(sqlite_database, "checkout", lambda connection, _r, _p: limit(connection, 100_000))
    assert sqlite_store.write(lambda tx: tx.events.add(big, NOW)) is True
    assert _count(sqlite_database, events) == 2


def test_a_read_only_database_stores_nothing_and_says_so(sqlite_store: SqliteStore, sqlite_database: Engine) -> None:
    """A database that may not be written answers StorageUnavailable, and can still be read."""
    event.listen(sqlite_database, "checkout", lambda connection, _r, _p: connection.execute("PRAGMA query_only=ON"))
    with pytest.raises(StorageUnavailable):
        sqlite_store.write(lambda tx: tx.events.add(event_of(1), NOW))
    assert sqlite_store.read(lambda tx: tx.subjects.newest(None, 1)) == []


def test_a_database_that_is_gone_says_so(tmp_path: Path) -> None:
    """A missing folder is StorageUnavailable to writers and readers alike, not an error of the database's library."""
    missing = make_store(open_sqlite(f"sqlite:///{tmp_path / 'nowhere' / 'shipmate.db'}"))
    with pytest.raises(StorageUnavailable):
        missing.write(lambda tx: tx.events.add(event_of(1), NOW))
    with pytest.raises(StorageUnavailable):
        missing.read(lambda tx: tx.subjects.newest(None, 1))
    missing.close()


def test_closing_commits_what_is_queued(sqlite_database: Engine) -> None:
    """A stop loses nothing that was handed over."""
    store = make_store(sqlite_database)
    is_busy, go_on = threading.Event(), threading.Event()

    def occupy(_tx: Transaction) -> None:
        is_busy.set()
        assert go_on.wait(10)

    writers = [threading.Thread(target=store.write, args=(occupy,))]
    writers[0].start()
    assert is_busy.wait(10)
    entry = AuditEntry(NOW, "slack:U1", "retry", "build:ci/a#1", "done")
    writers.append(threading.Thread(target=store.write, args=(lambda tx: tx.audit.append(entry),)))
    writers[1].start()
    while store._writer.queue.qsize() < 1:
        threading.Event().wait(0.001)
    closing = threading.Thread(target=store.close)
    closing.start()
    go_on.set()
    for thread in (*writers, closing):
        thread.join(10)
    assert _count(sqlite_database, audit) == 1


def test_a_read_sees_every_commit_before_it(store: SqlStore) -> None:
    """What a write has answered is there for the next read."""
    for number in range(5):
        store.write(lambda tx, number=number: tx.events.add(event_of(number), NOW))
        subject = f"build:buildbot/user-service#{number}"
        assert len(store.read(lambda tx, subject=subject: tx.events.of_subject(subject, 10))) == 1
