"""Real databases for tests: a plugin with the fixtures `database` and `store`, and makers of what is stored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography.fernet import Fernet, MultiFernet
from sqlalchemy import Engine

from bot.domain.builds import BuildFacts, BuildStatus, Phase
from bot.domain.events import Event, EventKind
from bot.domain.subjects import SubjectKey, SubjectKind
from bot.storage.schema import upgrade
from bot.storage.store import SqliteStore, open_sqlite
from tests.fakes import EPOCH

NOW = EPOCH.timestamp()
_KINDS = {
    Phase.QUEUED: EventKind.BUILD_STARTED,
    Phase.RUNNING: EventKind.BUILD_STARTED,
    Phase.FINISHED: EventKind.BUILD_FINISHED,
}


def make_store(engine: Engine) -> SqliteStore:
    """A store with a key of its own over a database that has its tables."""
    return SqliteStore(engine, MultiFernet([Fernet(Fernet.generate_key())]))


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


@contextmanager
def fresh_store() -> Iterator[tuple[SqliteStore, Engine]]:
    """A store over a database of its own, for tests that need several."""
    with TemporaryDirectory() as folder:
        engine = open_sqlite(f"sqlite:///{folder}/shipmate.db")
        upgrade(engine)
        opened = make_store(engine)
        yield opened, engine
        opened.close()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Engine]:
    """An engine over a file of its own, with its tables."""
    engine = open_sqlite(f"sqlite:///{tmp_path / 'shipmate.db'}")
    upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def store(database: Engine) -> Iterator[SqliteStore]:
    """A store over `database`."""
    opened = make_store(database)
    yield opened
    opened.close()
