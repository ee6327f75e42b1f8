"""Real databases for tests: a plugin with their fixtures, and makers of what is stored.

`database` and `store` give a test both engines, one after the other, and `bot_database` gives them to a bot that is
started; `sqlite_database` and `sqlite_store` are for what only SQLite has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from cryptography.fernet import Fernet, MultiFernet
from sqlalchemy import Engine, event

from bot.domain.builds import BuildFacts, BuildStatus, Phase
from bot.domain.events import Event, EventKind
from bot.domain.subjects import SubjectKey, SubjectKind
from bot.storage.postgres import PostgresStore, open_postgres
from bot.storage.schema import upgrade
from bot.storage.store import SqliteStore, open_sqlite
from tests.fakes import EPOCH

NOW = EPOCH.timestamp()
_KINDS = {
    Phase.QUEUED: EventKind.BUILD_STARTED,
    Phase.RUNNING: EventKind.BUILD_STARTED,
    Phase.FINISHED: EventKind.BUILD_FINISHED,
}


SqlStore = SqliteStore | PostgresStore


def make_store(engine: Engine) -> SqlStore:
    """A store with a key of its own over a database that has its tables."""
    cipher = MultiFernet([Fernet(Fernet.generate_key())])
    return PostgresStore(engine, cipher) if engine.dialect.name == "postgresql" else SqliteStore(engine, cipher)


def key_of(number: int | str = 12, *, project: str = "user-service", source: str = "buildbot") -> SubjectKey:
    """The key of a build."""
    return SubjectKey(SubjectKind.BUILD, source, project, str(number))


def event_of(
    number: int | str = 12,
    status: BuildStatus = BuildStatus.RUNNING,
    *,
    at: float = 0.0,
    started: float | None = None,
    generation: int = 0,
    attempt: int = 1,
    project: str = "user-service",
    source: str = "buildbot",
    branch: str = "main",
    log: str | None = None,
    commit_title: str | None = None,
) -> Event:
    """An event `at` seconds after EPOCH about a build that started at `started` (when the event came, by default)."""
    phase = Phase.RUNNING if status is BuildStatus.RUNNING else Phase.FINISHED
    facts = BuildFacts(
        status=status,
        branch=branch,
        commit="9fceb02d0ae598e95dc970b74767f19372d61af8" if commit_title else None,
        commit_title=commit_title,
        started_at=EPOCH + timedelta(seconds=at if started is None else started),
        finished_at=EPOCH + timedelta(seconds=at) if phase is Phase.FINISHED else None,
        log_excerpt=log,
    )
    key = key_of(number, project=project, source=source)
    delivery = f"{project}.{number}.{generation}.{attempt}.{status}.{at}.{log}.{commit_title}"
    when = EPOCH + timedelta(seconds=at)
    return Event(source, delivery, _KINDS[phase], key, when, phase, facts, generation, attempt)


@cache
def _migrated() -> bytes:
    """A SQLite file with its tables: to copy it takes a tenth of the time that the migrations take."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "shipmate.db"
        engine = open_sqlite(f"sqlite:///{file}")
        upgrade(engine)
        engine.dispose()
        return file.read_bytes()


def fresh_sqlite(folder: Path) -> Engine:
    """An engine over a file of its own, with its tables."""
    file = folder / "shipmate.db"
    file.write_bytes(_migrated())
    engine = open_sqlite(f"sqlite:///{file}")
    event.listen(engine, "connect", _wait_for_no_disk)
    return engine


def _wait_for_no_disk(connection: Any, _record: object) -> None:
    """No test switches the machine off; those that kill a bot have it open its own database."""
    connection.execute("PRAGMA synchronous=OFF")


@contextmanager
def fresh_store() -> Iterator[tuple[SqlStore, Engine]]:
    """A store over a database of its own, for tests that need several."""
    with TemporaryDirectory() as folder:
        engine = fresh_sqlite(Path(folder))
        opened = make_store(engine)
        yield opened, engine
        opened.close()


ENGINES = ("sqlite", pytest.param("postgres", marks=pytest.mark.postgres, id="postgresql"))


@pytest.fixture
def sqlite_database(tmp_path: Path) -> Iterator[Engine]:
    """An engine over a file of its own, with its tables."""
    engine = fresh_sqlite(tmp_path)
    yield engine
    engine.dispose()


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[Engine]:
    """An engine over a database of its own on the test's PostgreSQL, with its tables."""
    engine = open_postgres(postgres_url)
    yield engine
    engine.dispose()


MakeDatabase = Callable[[], dict[str, str]]


@pytest.fixture(scope="session", params=ENGINES)
def bot_database(request: pytest.FixtureRequest) -> MakeDatabase:
    """Each engine in turn: makes a database for one bot, and says what names it in its configuration.

    That of SQLite is a file in the bot's folder, which nobody needs to name.
    """
    if request.param == "sqlite":
        return dict
    server, template = request.getfixturevalue("postgres"), request.getfixturevalue("postgres_template")
    return lambda: {"database_url": server.url(server.fresh(template))}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Take what is marked so on SQLite alone: both engines keep the store's contract, and it is about other things."""
    items[:] = [item for item in items if not (item.get_closest_marker("one_engine") and _is_on_postgres(item))]


def _is_on_postgres(item: pytest.Item) -> bool:
    asked = getattr(item, "callspec", None)
    return asked is not None and "postgres" in (asked.params.get("database"), asked.params.get("bot_database"))


@pytest.fixture(params=ENGINES)
def database(request: pytest.FixtureRequest) -> Engine:
    """Each engine in turn, over a database of the test's own, with its tables."""
    engine: Engine = request.getfixturevalue(f"{request.param}_database")
    return engine


@pytest.fixture
def store(database: Engine) -> Iterator[SqlStore]:
    """A store over `database`."""
    opened = make_store(database)
    yield opened
    opened.close()


@pytest.fixture
def sqlite_store(sqlite_database: Engine) -> Iterator[SqliteStore]:
    """A store over `sqlite_database`."""
    opened = make_store(sqlite_database)
    assert isinstance(opened, SqliteStore)
    yield opened
    opened.close()
