"""A backup is one whole state of the database, made while others write, and never in place of another file."""

from __future__ import annotations

import re
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, func, select

from bot.cli import cli
from bot.domain.builds import BuildStatus
from bot.services.ingest import Ingest, Outcome
from bot.services.router import Router
from bot.services.signal import Signal
from bot.storage import backup, groups
from bot.storage.backup import copy_database
from bot.storage.opening import obstacle
from bot.storage.schema import upgrade
from bot.storage.store import SqliteStore, open_sqlite
from bot.storage.tables import events, subjects
from tests.fakes import FakeClock
from tests.stores import event_of, make_store
from tests.waiting import wait_until


def ingest_of(store: SqliteStore) -> Ingest:
    """A door without routes."""
    return Ingest(store, FakeClock(), Router((), {}), Signal(), frozenset())


@contextmanager
def telling(store: SqliteStore) -> Iterator[list[int]]:
    """Builds come in at several doors, as fast as they can; gives the numbers that were accepted."""
    told: list[int] = []
    is_over = threading.Event()

    def tell(first: int) -> None:
        door, number = ingest_of(store), first
        while not is_over.is_set():
            assert door.accept([event_of(number, BuildStatus.FAILED, log="x" * 2000)]) == [Outcome.ACCEPTED]
            told.append(number)
            number += 4

    threads = [threading.Thread(target=tell, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield told
    finally:
        is_over.set()
        for thread in threads:
            thread.join(30)


def file_of(database: Engine) -> Path:
    """The file of a database."""
    return Path(str(database.url.database))


def test_a_backup_under_load_is_a_database_to_go_on_with(
    sqlite_store: SqliteStore, sqlite_database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything accepted before it began is in it, each event with its build, and Shipmate works on it."""
    monkeypatch.setattr(groups, "LONGEST_WAIT_S", groups.WRITE_DEADLINE_S)  # for slow machines
    target = tmp_path / "copy.db"
    with telling(sqlite_store) as told:
        wait_until(lambda: len(told) > 50)
        before = set(told)
        assert copy_database(file_of(sqlite_database), target) == target.stat().st_size
        count = len(told)
        wait_until(lambda: len(told) > count + 20)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("copy")) == ["copy.db"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    copy = open_sqlite(f"sqlite:///{target}")
    assert upgrade(copy) is False
    assert obstacle(copy) is None
    with copy.connect() as connection:
        numbers = {int(number) for number in connection.scalars(select(subjects.c.number))}
        assert connection.scalar(select(func.count()).select_from(events)) == len(numbers)
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    assert before <= numbers < set(told)
    opened = make_store(copy)
    assert isinstance(opened, SqliteStore)
    again = event_of(next(iter(before)), BuildStatus.FAILED, log="x" * 2000)
    assert ingest_of(opened).accept([again, event_of("new")]) == [Outcome.DUPLICATE, Outcome.ACCEPTED]
    opened.close()


def test_a_backup_that_fails_leaves_nothing(
    sqlite_database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not whole has neither the name of a backup nor any other."""

    def fail(_database: Path, target: Path) -> None:
        target.write_bytes(b"half of it")
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(backup, "_copy", fail)
    folder = tmp_path / "backups"
    folder.mkdir()
    with pytest.raises(sqlite3.OperationalError):
        copy_database(file_of(sqlite_database), folder / "copy.db")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("is_racing", [False, True], ids=["before", "meanwhile"])
def test_no_file_is_replaced(
    sqlite_database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_racing: bool
) -> None:
    """A file of that name stays as it is, also when it appears while the copy is made."""
    target = tmp_path / "copy.db"
    if is_racing:
        copy = backup._copy
        monkeypatch.setattr(backup, "_copy", lambda *paths: (copy(*paths), target.write_text("mine")))
    else:
        target.write_text("mine")
    with pytest.raises(FileExistsError):
        copy_database(file_of(sqlite_database), target)
    assert target.read_text() == "mine"
    assert not list(tmp_path.glob("*.unfinished*"))


def test_what_a_killed_backup_left_is_in_nobodys_way(sqlite_database: Engine, tmp_path: Path) -> None:
    """The next one to the same place is made, and touches nothing else."""
    left = tmp_path / "copy.db.killed.unfinished"
    left.write_bytes(b"half of it")
    copy_database(file_of(sqlite_database), tmp_path / "copy.db")
    assert left.read_bytes() == b"half of it"
    assert sorted(path.name for path in tmp_path.glob("copy*")) == ["copy.db", left.name]


def back_up(folder: Path, target: str, configuration: str = "") -> Result:
    """`shipmate backup` in a folder."""
    (folder / "shipmate.yaml").write_text(f"log: {{}}\n{configuration}", "utf-8")
    return CliRunner().invoke(cli, ["backup", "--config", str(folder / "shipmate.yaml"), str(folder / target)])


def test_the_command_says_what_it_made(tmp_path: Path) -> None:
    """Path and size; a second one to the same place, one without a database, and one of a server are refused."""
    refused = back_up(tmp_path, "copy.db")
    assert (refused.exit_code, "does not exist" in refused.stderr) == (1, True)
    CliRunner().invoke(cli, ["db", "upgrade", "--config", str(tmp_path / "shipmate.yaml")])
    made = back_up(tmp_path, "copy.db")
    assert made.exit_code == 0
    assert re.fullmatch(rf"{tmp_path}/copy\.db: [0-9]\.[0-9] MiB\n", made.output)
    refused = back_up(tmp_path, "copy.db")
    assert (refused.exit_code, refused.stderr) == (2, f"shipmate: {tmp_path / 'copy.db'}: exists already\n")
    refused = back_up(tmp_path, "no-such-folder/copy.db")
    assert (refused.exit_code, "No such file or directory" in refused.stderr) == (2, True)
    refused = back_up(tmp_path, "other.db", "database_url: postgresql://somewhere/shipmate\n")
    assert (refused.exit_code, "pg_dump" in refused.stderr) == (1, True)
