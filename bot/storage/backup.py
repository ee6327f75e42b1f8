"""A copy of a SQLite database while others write to it; https://www.sqlite.org/backup.html."""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from bot.errors import ConfigError, InputError
from bot.settings import Settings

_SQLITE = "sqlite:///"


def back_up(settings: Settings, target: Path) -> int:
    """Copy the configured database to `target`, which must not exist; the copy's size in bytes.

    ConfigError where the database cannot be copied this way, InputError where the copy cannot be made.
    """
    if not settings.database.startswith(_SQLITE):
        raise ConfigError("database_url", "is a server's: make its backups with pg_dump, see docs/operations.md")
    database = Path(settings.database.removeprefix(_SQLITE))
    if not database.is_file():
        raise ConfigError("database_url", f"{database} does not exist")
    try:
        return copy_database(database, target)
    except OSError as problem:
        raise InputError(f"{target}: {problem.strerror}") from None
    except sqlite3.Error as problem:
        raise InputError(f"{target}: {problem}") from None


def copy_database(database: Path, target: Path) -> int:
    """Copy a database file to `target`, which must not exist; its size in bytes.

    The copy is one state of the database, that of the beginning: it is read on one snapshot, for which no writer waits.
    It has its name only when it is whole and on disk; until then it ends in `.unfinished`, and so does what is left of
    one whose process was killed. OSError and sqlite3.Error say what stands in the way.
    """
    if target.exists():
        raise FileExistsError(errno.EEXIST, "exists already", str(target))
    # Readable for its owner alone, for it holds what people said; named apart from what a killed one left.
    descriptor, name = tempfile.mkstemp(".unfinished", f"{target.name}.", target.parent)
    unfinished = Path(name)
    try:
        _copy(database, unfinished)
        os.fsync(descriptor)
        _name(unfinished, target)
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)
        for left in (unfinished, *(Path(f"{unfinished}-{kind}") for kind in ("journal", "wal", "shm"))):
            left.unlink(missing_ok=True)


def _copy(database: Path, target: Path) -> None:
    address = f"file:{quote(str(database.resolve()))}?mode=rw"
    with closing(sqlite3.connect(address, uri=True)) as source, closing(sqlite3.connect(target)) as copy:
        # All pages in one step: a copy in several begins anew whenever somebody has written in between.
        source.backup(copy)
        found = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise sqlite3.DatabaseError(f"the copy is damaged: {found}")


def _name(unfinished: Path, target: Path) -> None:
    """Give the copy its name, and never take that of another file."""
    try:
        os.link(unfinished, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if target.exists():
            raise FileExistsError(errno.EEXIST, "exists already", str(target)) from None
        unfinished.rename(target)
    with suppress(OSError):  # some file systems cannot flush a folder
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
