"""A PostgreSQL cluster for tests: one a pytest process, in which each test has a database without rows.

A bot of a scenario has a database of its own there, which is copied from one that has its tables.

It listens on a Unix socket in a folder of its own and never waits for the disk. Started as root, it runs as the
machine's user `postgres` (or `nobody`), because PostgreSQL refuses root.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import Connection, NullPool, create_engine, text

from bot.storage.tables import metadata
from tests.needs import postgres_binaries

START_S = 30.0
_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
_SETTINGS = ("max_connections=200", "shared_buffers=64MB", "autovacuum=off", "deadlock_timeout=100ms", "jit=off")
_OTHERS = "datname = current_database() AND pid <> pg_backend_pid()"
_EMPTY = ";".join(
    [f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {_OTHERS}"]
    + [f"DELETE FROM {table.name}" for table in metadata.tables.values()]
    + [
        f"ALTER SEQUENCE {name} RESTART"
        for name in ("events_id_seq", "cards_id_seq", "audit_seq_seq", "deployments_number_seq")
    ]
)


@dataclass
class Cluster:
    """A running server; `url` names its databases."""

    binaries: Path
    folder: Path
    settings: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    _numbers: Iterator[int] = field(default_factory=count)

    def url(self, database: str) -> str:
        """The address of a database as the configuration takes it."""
        return f"postgresql+psycopg://shipmate@/{database}?host={self.folder}"

    def initialise(self) -> None:
        """Make the cluster's files."""
        self._as_owner("initdb", "--auth=trust", "--username=shipmate", "--no-sync", "--encoding=UTF8", "--locale=C")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = [part for setting in self.settings for part in ("-c", setting)]
        command = [self.binaries / "postgres", "-D", self.folder / "data", "-k", self.folder, "-h", "", *options]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self.folder,
                **_owner(),
            )
        deadline = time.monotonic() + START_S
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"PostgreSQL does not start:\n{(self.folder / 'log').read_text()}")
            time.sleep(0.02)

    def stop(self, how: str = "immediate") -> None:
        """End the server: `immediate` is a crash, `fast` an orderly end."""
        if self.process is not None:
            self._as_owner("pg_ctl", "stop", "-m", how, "-s")
            self.process.wait(START_S)
            self.process = None

    def is_ready(self) -> bool:
        """Whether it takes connections."""
        asked = subprocess.run(
            [self.binaries / "pg_isready", "-q", "-h", self.folder], check=False, capture_output=True
        )
        return asked.returncode == 0

    def fresh(self, template: str = "template0") -> str:
        """Make a database, an empty one or a copy of one that nobody is connected to; its name."""
        name = f"test_{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return name

    def drop(self, database: str) -> None:
        """Remove a database, whoever is connected."""
        self.run(f"DROP DATABASE {database} WITH (FORCE)")

    def run(self, statement: str, database: str = "postgres") -> None:
        """Run a statement outside of any transaction."""
        engine = create_engine(self.url(database), isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with engine.connect() as connection:
            connection.execute(text(statement))

    def _as_owner(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self.binaries / program, "-D", self.folder / "data", *arguments],
            check=True,
            capture_output=True,
            cwd=self.folder,
            **_owner(),
        )


def _owner() -> dict[str, object]:
    """Who runs the server, as arguments of subprocess."""
    if os.getuid() != 0:
        return {}
    account = _account()
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _account() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return pytest.fail("neither a user postgres nor nobody is there to run PostgreSQL as")


@contextmanager
def cluster(*settings: str) -> Iterator[Cluster]:
    """A cluster of its own; it is gone afterwards. Without settings it forgets everything when it crashes."""
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # a socket's path has at most 107 bytes
    folder.chmod(0o755)
    if os.getuid() == 0:
        account = _account()
        os.chown(folder, account.pw_uid, account.pw_gid)
    server = Cluster(postgres_binaries(), folder, (*_SETTINGS, *(settings or _FAST)))
    try:
        server.initialise()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """The server of this pytest process."""
    with cluster() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template(postgres: Cluster) -> str:
    """A database with its tables, to be copied: nobody connects to it."""
    from bot.storage.postgres import open_postgres
    from bot.storage.schema import upgrade

    name = postgres.fresh()
    engine = open_postgres(postgres.url(name))
    upgrade(engine)
    engine.dispose()
    return name


@pytest.fixture(scope="session")
def _shared(postgres: Cluster, postgres_template: str) -> Iterator[Connection]:
    """A connection that stays, to the database that serves all tests: a new one costs more than what it is for."""
    engine = create_engine(postgres.url(postgres.fresh(postgres_template)), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.fixture
def postgres_url(_shared: Connection) -> Iterator[str]:
    """The address of a database with its tables and no rows; one serves all tests, which saves a copy for each."""
    yield _shared.engine.url.render_as_string()
    _shared.exec_driver_sql(_EMPTY)


@pytest.fixture
def empty_postgres_url(postgres: Cluster) -> Iterator[str]:
    """The address of a database without tables."""
    name = postgres.fresh()
    yield postgres.url(name)
    postgres.drop(name)
